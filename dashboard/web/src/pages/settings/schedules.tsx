import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Pause, Play, Zap } from 'lucide-react'
import { api, call } from '@/api/client'
import { schedulesQuery } from '@/api/queries'
import type { Job, Schedule } from '@/api/types'
import { useCan } from '@/lib/session'
import { attempt } from '@/lib/toasts'
import { Button } from '@/ui/button'
import { Panel, Problem, Skeleton } from '@/ui/panel'
import { Pill } from '@/ui/status'
import { JobStatus } from '@/ui/timeline'
import { Ago } from '@/ui/time'

/** Schedules are what the control plane does by itself, again and again. */
export function Schedules() {
  const list = useQuery(schedulesQuery)
  return (
    <Panel title="Schedules" flush>
      {list.isPending ? (
        <div className="p-3">
          <Skeleton lines={6} />
        </div>
      ) : list.error ? (
        <Problem error={list.error} retry={() => void list.refetch()} className="m-3" />
      ) : (
        <ul className="divide-y divide-line">
          {list.data.map((s) => (
            <Row key={s.name} schedule={s} />
          ))}
        </ul>
      )}
    </Panel>
  )
}

function Row({ schedule: s }: { schedule: Schedule }) {
  const { admin } = useCan()
  const queries = useQueryClient()
  const at = { params: { path: { name: s.name } } }
  const again = () => void queries.invalidateQueries({ queryKey: ['schedules'] })
  const run = () => attempt(`Run ${s.name}`, async () => (await call(api.POST('/api/schedules/{name}/run', at))) as Job).then(again)
  const pause = () => attempt(`Pause ${s.name}`, async () => void (await call(api.POST('/api/schedules/{name}/pause', at))), `${s.name} rests`).then(again)
  const resume = () => attempt(`Resume ${s.name}`, async () => void (await call(api.POST('/api/schedules/{name}/resume', at))), `${s.name} goes on`).then(again)
  return (
    <li className="flex flex-wrap items-center gap-x-3 gap-y-1 px-3 py-2">
      <div className="min-w-60 flex-1">
        <p className="flex flex-wrap items-center gap-2">
          <span className="font-medium">{s.name}</span>
          <code className="rounded bg-idle-soft px-1.5 font-mono text-xs text-muted">{s.cron}</code>
          {s.paused && <Pill tone="warn">paused by {s.paused.by}</Pill>}
        </p>
        <p className="text-xs text-muted">
          {s.description}
          {s.next && (
            <>
              . Next <Ago at={s.next} />
            </>
          )}
          {s.paused && (
            <>
              . Rests since <Ago at={s.paused.at} />
            </>
          )}
        </p>
      </div>
      {s.lastJob && (
        <Link to="/jobs" search={{ open: s.lastJob.id }} className="flex items-center gap-2 text-xs text-muted">
          <JobStatus job={s.lastJob} />
          <Ago at={s.lastJob.queuedAt} />
        </Link>
      )}
      {admin && (
        <span className="flex gap-1">
          <Button size="sm" onClick={() => void run()}>
            <Zap aria-hidden className="size-3.5" /> Run now
          </Button>
          {s.paused ? (
            <Button size="sm" onClick={() => void resume()}>
              <Play aria-hidden className="size-3.5" /> Resume
            </Button>
          ) : (
            <Button size="sm" onClick={() => void pause()}>
              <Pause aria-hidden className="size-3.5" /> Pause
            </Button>
          )}
        </span>
      )}
    </li>
  )
}
