import { useQuery } from '@tanstack/react-query'
import { clusterUsageQuery } from '@/api/queries'
import type { Amount } from '@/api/types'
import { percent } from '@/lib/format'
import { Chart } from '@/ui/chart'
import { Meter } from '@/ui/meter'
import { Panel, Problem, Skeleton } from '@/ui/panel'

interface PastProps {
  what: 'cpu' | 'memory' | 'disk'
  title: string
  amount: Amount
  show: (v: number) => string
  unit?: string
}

/** Past is what of a resource is used, reserved and there, with the last 15 minutes. */
export function Past({ what, title, amount, show, unit }: PastProps) {
  const past = useQuery(clusterUsageQuery('15m'))
  return (
    <Panel
      title={title}
      aside={<span className="num text-sm font-semibold">{percent(amount.percent)}</span>}
    >
      <p className="num mb-2 flex flex-wrap gap-x-3 text-xs text-muted">
        <span>
          <span className="text-fg">{show(amount.used)}</span> used
        </span>
        {what !== 'disk' && (
          <span>
            <span className="text-fg">{show(amount.reserved)}</span> reserved
          </span>
        )}
        <span>
          <span className="text-fg">{show(amount.total)}</span> {unit ?? ''} in all
        </span>
      </p>
      <Meter label={title} used={amount.used} reserved={what === 'disk' ? undefined : amount.reserved} total={amount.total} show={show} className="mb-3" />
      {past.isPending ? (
        <Skeleton className="h-24" />
      ) : past.error ? (
        <Problem error={past.error} retry={() => void past.refetch()} />
      ) : past.data.points.length < 2 ? (
        <p className="grid h-24 place-items-center text-muted">Nothing was measured yet.</p>
      ) : (
        <Chart label={`${title}, percent, the last 15 minutes`} height={96} times={past.data.points.map((p) => Date.parse(p.at) / 1_000)} series={[{ label: 'Last 15 minutes', values: past.data.points.map((p) => p[what]), tone: 'accent' }]} show={percent} most={100} />
      )}
    </Panel>
  )
}
