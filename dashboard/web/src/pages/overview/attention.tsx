import { Link } from '@tanstack/react-router'
import { CircleCheck, Database, HardDrive, ListX, type LucideIcon, Network, Save, ServerOff, TriangleAlert } from 'lucide-react'
import type { Attention as Item } from '@/api/types'
import { Panel } from '@/ui/panel'
import { Pill } from '@/ui/status'
import { Ago } from '@/ui/time'

const icons: Record<string, LucideIcon> = {
  job_failed: ListX,
  container_unsaved: Save,
  node_down: ServerOff,
  node_stale: ServerOff,
  disk: HardDrive,
  addresses: Network,
  redis_memory: Database,
  redis_policy: Database,
}

/** Attention is what somebody should look at. */
export function Attention({ list }: { list: Item[] }) {
  return (
    <Panel title="Needs attention" flush aside={list.length > 0 && <Pill tone="warn">{list.length}</Pill>}>
      {list.length === 0 ? (
        <p className="flex items-center gap-2 p-3 text-muted">
          <CircleCheck aria-hidden className="size-4 text-ok" /> Nothing does.
        </p>
      ) : (
        <ul className="max-h-80 divide-y divide-line overflow-auto">
          {list.map((a) => {
            const Icon = icons[a.kind] ?? TriangleAlert
            return (
              <li key={`${a.kind}${a.nodeId}${a.containerId}${a.jobId}${a.message}`} className="flex items-start gap-2.5 px-3 py-2">
                <Icon aria-hidden className="mt-0.5 size-4 shrink-0 text-warn" />
                <span className="line-clamp-3 min-w-0 flex-1 break-words">{a.message}</span>
                {a.since && (
                  <span className="shrink-0 text-xs text-muted">
                    <Ago at={a.since} />
                  </span>
                )}
                <Where item={a} />
              </li>
            )
          })}
        </ul>
      )}
    </Panel>
  )
}

function Where({ item: a }: { item: Item }) {
  if (a.jobId)
    return (
      <Link to="/jobs" search={{ open: a.jobId }} className="link shrink-0 text-xs" aria-label={`Show the job ${a.jobId}`}>
        Show
      </Link>
    )
  if (a.containerId)
    return (
      <Link to="/containers" search={{ open: a.containerId }} className="link shrink-0 text-xs" aria-label={`Show the container ${a.containerId}`}>
        Show
      </Link>
    )
  if (a.nodeId)
    return (
      <Link to="/nodes" search={{ open: a.nodeId }} className="link shrink-0 text-xs" aria-label="Show the node">
        Show
      </Link>
    )
  return null
}
