import type { Node } from '@/api/types'
import { Pill, Status } from '@/ui/status'

/** NodeState says what Swarm says of a node, and what keeps containers off it. */
export function NodeState({ node: n }: { node: Node }) {
  return (
    <span className="flex flex-wrap items-center gap-1">
      <Status state={n.state} />
      {n.availability !== 'active' && <Status state={n.availability} label={n.availability === 'drain' ? 'drained' : 'paused'} />}
      {n.stale && n.state === 'ready' && <Status state="stale" />}
      {n.above.map((m) => (
        <Pill key={m.resource} tone="warn" title={`Above its mark of ${m.mark} %: it takes nothing more`}>
          {m.resource} {Math.round(m.percent)} %
        </Pill>
      ))}
      {!n.isolated && n.state === 'ready' && !n.stale && (
        <Pill tone="bad" title="Its isolation filter does not stand: it takes nothing">
          not isolated
        </Pill>
      )}
    </span>
  )
}
