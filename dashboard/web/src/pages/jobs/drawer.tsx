import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { Ban, RotateCw } from 'lucide-react'
import { useState } from 'react'
import { cancelJob, retryJob } from '@/actions/containers'
import { ApiError } from '@/api/client'
import { jobQuery } from '@/api/queries'
import type { Job } from '@/api/types'
import { dateTime, sentence } from '@/lib/format'
import { isOpen } from '@/lib/job'
import { useCan } from '@/lib/session'
import { useJob } from '@/live/hooks'
import { Button } from '@/ui/button'
import { Copy } from '@/ui/copy'
import { Fact, Facts } from '@/ui/list'
import { Drawer } from '@/ui/overlay'
import { Empty, LongText, Panel, Problem, Skeleton } from '@/ui/panel'
import { Status } from '@/ui/status'
import { JobStatus, Timeline } from '@/ui/timeline'
import { Ago } from '@/ui/time'
import { Took, targetOf } from './row'

/** JobDrawer shows one job with its steps, and why it failed. */
export function JobDrawer({ id, onClose }: { id: string | undefined; onClose: () => void }) {
  const [shown, setShown] = useState(id)
  if (id !== undefined && id !== shown) setShown(id)
  const query = useQuery({ ...jobQuery(shown ?? ''), enabled: id !== undefined })
  const job = useJob(shown)
  return (
    <Drawer
      open={id !== undefined}
      onClose={onClose}
      title={
        <>
          <span className="truncate">{job ? sentence(job.function) : 'Job'}</span>
          {job && <JobStatus job={job} />}
        </>
      }
      header={job && <Actions job={job} />}
    >
      {job ? (
        <Body job={job} />
      ) : query.error ? (
        query.error instanceof ApiError && query.error.status === 404 ? (
          <Empty title="There is no such job">
            <p>Jobs are kept for some days after their end.</p>
          </Empty>
        ) : (
          <Problem error={query.error} retry={() => void query.refetch()} className="m-4" />
        )
      ) : (
        <div className="p-4">
          <Skeleton lines={6} />
        </div>
      )}
    </Drawer>
  )
}

function Actions({ job }: { job: Job }) {
  const { change } = useCan()
  const navigate = useNavigate()
  if (!change || !(isOpen(job) || job.status === 'failed')) return null
  return (
    <div className="flex gap-2 px-4 pb-3">
      {isOpen(job) && (
        <Button onClick={() => void cancelJob(job.id)}>
          <Ban aria-hidden className="size-4" /> Cancel
        </Button>
      )}
      {job.status === 'failed' && (
        <Button look="primary" onClick={() => void retryJob(job.id).then((ok) => ok && void navigate({ to: '/jobs', search: {} }))}>
          <RotateCw aria-hidden className="size-4" /> Try again
        </Button>
      )}
    </div>
  )
}

function Body({ job }: { job: Job }) {
  const items = job.items ?? []
  return (
    <div className="space-y-4 p-4">
      {job.error && (
        <div role="status" className="rounded-md border border-line bg-bad-soft p-3">
          <p className="font-medium text-bad">{job.status === 'failed' ? 'It failed' : 'The last attempt failed'}</p>
          <LongText text={job.error.message} />
          <p className="mt-1 font-mono text-xs text-muted">{job.error.code}</p>
          {job.nextAttemptAt && (
            <p className="mt-1">
              Tried again <Ago at={job.nextAttemptAt} />
            </p>
          )}
        </div>
      )}
      <Panel title="Steps">{job.steps.length > 0 ? <Timeline job={job} /> : <p className="text-muted">It waits for a worker.</p>}</Panel>
      {items.length > 0 && (
        <Panel title="Of each" flush>
          <ul className="max-h-96 divide-y divide-line overflow-auto">
            {items.map((i) => (
              <li key={i.id} className="flex min-h-9 items-center gap-2 px-3 py-1">
                <Link to="/containers" search={{ open: i.id }} className="font-mono hover:underline">
                  {i.id}
                </Link>
                <Status state={i.status} />
                <span className="min-w-0 flex-1 text-muted">{i.error?.message}</span>
              </li>
            ))}
          </ul>
        </Panel>
      )}
      <Panel title="About it">
        <Facts>
          <Fact name="ID">
            <span className="flex items-center gap-1">
              <code className="font-mono break-all">{job.id}</code> <Copy text={job.id} label="Copy the ID" />
            </span>
          </Fact>
          <Fact name="Of">
            {job.containerId ? (
              <Link to="/containers" search={{ open: job.containerId }} className="link font-mono">
                {job.containerId}
              </Link>
            ) : (
              targetOf(job) || '–'
            )}
          </Fact>
          <Fact name="By">{job.owner ?? 'a schedule'}</Fact>
          <Fact name="Attempts">
            <span className="num">
              {job.attempt} of at most {job.maxAttempts}
            </span>
          </Fact>
          <Fact name="Asked for">{dateTime(job.queuedAt)}</Fact>
          {job.startedAt && <Fact name="Began">{dateTime(job.startedAt)}</Fact>}
          {job.finishedAt && <Fact name="Ended">{dateTime(job.finishedAt)}</Fact>}
          <Fact name="Took">
            <span className="num">
              <Took job={job} />
            </span>
          </Fact>
        </Facts>
      </Panel>
      {job.result && Object.keys(job.result).length > 0 && (
        <Panel title="Result" flush>
          {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls */}
          <pre tabIndex={0} className="max-h-72 overflow-auto p-3 font-mono text-xs">
            {JSON.stringify(job.result, null, 2)}
          </pre>
        </Panel>
      )}
    </div>
  )
}
