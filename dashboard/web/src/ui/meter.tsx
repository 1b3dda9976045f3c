import { cn } from '@/lib/cn'
import { percent } from '@/lib/format'

/** Meter shows how much of a total is used, and how much is reserved, in one bar. */
export function Meter({ label, used, reserved, total, show, className }: { label: string; used: number | undefined; reserved?: number | undefined; total: number | undefined; show: (v: number) => string; className?: string }) {
  const of = (v: number | undefined) => (total && v !== undefined ? Math.min(100, Math.max(0, (v / total) * 100)) : undefined)
  const u = of(used)
  const r = of(reserved)
  const tone = u === undefined ? '' : u > 90 ? 'bg-bad' : u > 80 ? 'bg-warn' : 'bg-accent'
  const text = u === undefined ? 'not known' : `${show(used as number)} of ${show(total as number)}${r === undefined ? '' : `, ${show(reserved as number)} reserved`}`
  return (
    <div className={className} title={`${label}: ${text}`}>
      <div role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(u ?? 0)} aria-valuetext={text} className="relative h-1.5 overflow-hidden rounded-full bg-idle-soft">
        {r !== undefined && <div className="absolute inset-y-0 left-0 border-r-2 border-line-strong bg-line" style={{ width: `${r}%` }} />}
        {u !== undefined && <div className={cn('absolute inset-y-0 left-0 rounded-full', tone)} style={{ width: `${Math.max(u, u > 0 ? 1 : 0)}%` }} />}
      </div>
    </div>
  )
}

/** Share is a percentage with its small bar, for a cell of a table. */
export function Share({ label, value, text }: { label: string; value: number | undefined | null; text?: string }) {
  if (value === undefined || value === null) return <span className="text-muted">–</span>
  return (
    <span className="flex items-center gap-2">
      <Meter label={label} used={value} total={100} show={percent} className="w-10 max-lg:hidden" />
      <span className="num">{text ?? percent(value)}</span>
    </span>
  )
}
