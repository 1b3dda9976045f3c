import { Link, type LinkProps } from '@tanstack/react-router'
import type { Overview } from '@/api/types'
import { cn } from '@/lib/cn'

/** Tiles count containers by state; each leads to the list of them. */
export function Tiles({ o }: { o: Overview }) {
  const c = o.containers
  const tiles: { label: string; value: number; note?: string; tone?: string; search: LinkProps<'a'>['search'] }[] = [
    { label: 'Running', value: c.running, tone: 'text-ok', search: { status: 'running' } },
    { label: 'In progress', value: c.starting + c.stopping, tone: c.starting + c.stopping > 0 ? 'text-busy' : '', note: `${c.starting} starting, ${c.stopping} stopping`, search: { status: c.stopping > c.starting ? 'stopping' : 'starting' } },
    { label: 'Stopped', value: c.stopped, search: { status: 'stopped' } },
    { label: 'Failed', value: c.failed, tone: c.failed > 0 ? 'text-bad' : '', search: { status: 'failed' } },
    { label: 'Unsaved', value: c.unsaved, tone: c.unsaved > 0 ? 'text-warn' : '', search: { unsaved: true } },
  ]
  return (
    <ul className="grid grid-cols-5 gap-3 max-lg:grid-cols-3 max-sm:grid-cols-2">
      {tiles.map((t) => (
        <li key={t.label}>
          <Link to="/containers" search={t.search as never} className="block rounded-lg border border-line bg-surface px-3 py-2.5 transition-colors hover:border-line-strong">
            <span className="block text-xs font-medium text-muted">{t.label}</span>
            <span className={cn('num block text-2xl leading-8 font-semibold tracking-tight', t.tone)}>{t.value.toLocaleString('en')}</span>
            <span className="block truncate text-xs text-muted">{t.note ?? `of ${c.total.toLocaleString('en')}`}</span>
          </Link>
        </li>
      ))}
    </ul>
  )
}
