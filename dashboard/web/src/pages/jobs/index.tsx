import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { ExternalLink, ListChecks, SearchX } from 'lucide-react'
import { healthQuery, overviewQuery } from '@/api/queries'
import { span } from '@/lib/format'
import { type JobsSearch, jobStatuses } from '@/lib/search'
import { useCan, useSession } from '@/lib/session'
import { useTitle } from '@/lib/title'
import { useChanges } from '@/live/hooks'
import { jobs } from '@/live/live'
import { Button, buttonStyle } from '@/ui/button'
import { Select } from '@/ui/field'
import { PageHead } from '@/ui/list'
import { Empty, Problem, Skeleton } from '@/ui/panel'
import { Pill } from '@/ui/status'
import { functionsQuery } from './functions'
import { JobDrawer } from './drawer'
import { useJobs } from './list'
import { JobRow } from './row'

/** Jobs are what is done, was done and waits, newest first. */
export default function Jobs() {
  useTitle('Jobs')
  const search = useSearch({ from: '/shell/jobs' })
  const navigate = useNavigate({ from: '/jobs' })
  const queries = useQueryClient()
  const list = useJobs(search)
  const functions = useQuery(functionsQuery)
  const set = (patch: { [K in keyof JobsSearch]?: JobsSearch[K] | undefined }) =>
    void navigate({ search: (s) => Object.fromEntries(Object.entries({ ...s, ...patch }).filter(([, v]) => v !== undefined && v !== '')) as JobsSearch, replace: true })
  // New jobs come to the top; those that the filter no longer takes go.
  useChanges(jobs, (c) => {
    const moved = [...c.changed.values()].some(({ before, after }) => !before || (search.status !== undefined && before.status !== after?.status))
    if (moved) void queries.invalidateQueries({ queryKey: ['jobs'] })
  })
  const ids = list.data?.pages.flatMap((p) => p.ids) ?? []
  const filtered = Boolean(search.status || search.function)
  return (
    <div className="flex h-full min-h-0 flex-col p-4 max-md:p-3">
      <PageHead title="Jobs">
        <QueueState />
        <Select aria-label="State" value={search.status ?? ''} className="w-32" onChange={(e) => set({ status: (e.target.value || undefined) as JobsSearch['status'] })}>
          <option value="">All states</option>
          {jobStatuses.map((s) => (
            <option key={s}>{s}</option>
          ))}
        </Select>
        <Select aria-label="Function" value={search.function ?? ''} className="w-44" onChange={(e) => set({ function: e.target.value })}>
          <option value="">All functions</option>
          {[...new Set([...(functions.data ?? []), ...(search.function ? [search.function] : [])])].map((f) => (
            <option key={f}>{f}</option>
          ))}
        </Select>
        <QueueAdmin />
      </PageHead>
      <div className="flex min-h-0 flex-1 flex-col overflow-hidden rounded-lg border border-line bg-surface">
        {list.error && <Problem what="The jobs could not be read." error={list.error} retry={() => void list.refetch()} className="m-2" />}
        <div className="min-h-0 flex-1 overflow-auto" tabIndex={-1}>
          {list.isPending ? (
            <div className="p-3">
              <Skeleton lines={10} className="h-6" />
            </div>
          ) : ids.length > 0 ? (
            <table className="w-full table-fixed text-left">
              <caption className="sr-only">Jobs</caption>
              <thead className="sticky top-0 z-10 border-b border-line bg-surface text-xs text-muted">
                <tr className="h-9">
                  <th scope="col" className="px-3 font-medium">Job</th>
                  <th scope="col" className="w-56 px-2 font-medium max-md:w-40">State</th>
                  <th scope="col" className="w-36 px-2 font-medium max-md:hidden">Of</th>
                  <th scope="col" className="w-28 px-2 font-medium max-lg:hidden">By</th>
                  <th scope="col" className="w-20 px-2 text-right font-medium max-lg:hidden">Attempts</th>
                  <th scope="col" className="w-24 px-2 text-right font-medium max-sm:hidden">Took</th>
                  <th scope="col" className="w-28 px-3 text-right font-medium max-sm:hidden">Asked for</th>
                </tr>
              </thead>
              <tbody>
                {ids.map((id) => (
                  <JobRow key={id} id={id} open={id === search.open} onOpen={() => set({ open: id })} />
                ))}
              </tbody>
            </table>
          ) : filtered ? (
            <Empty icon={SearchX} title="No job matches">
              <Button onClick={() => set({ status: undefined, function: undefined })}>Show all</Button>
            </Empty>
          ) : (
            !list.error && (
              <Empty icon={ListChecks} title="There was no job yet">
                <p>Whatever is asked for, as the start of a container, is a job, and shows here with its steps.</p>
              </Empty>
            )
          )}
          {list.hasNextPage && (
            <div className="p-3 text-center">
              <Button onClick={() => void list.fetchNextPage()} busy={list.isFetchingNextPage}>
                Show older ones
              </Button>
            </div>
          )}
        </div>
      </div>
      <JobDrawer id={search.open} onClose={() => set({ open: undefined })} />
    </div>
  )
}

function QueueState() {
  const { seeAll } = useCan()
  const overview = useQuery({ ...overviewQuery, enabled: seeAll })
  const health = useQuery(healthQuery)
  const workers = health.data?.checks.workers
  const j = overview.data?.jobs
  return (
    <span className="flex flex-wrap items-center gap-1.5" role="status">
      {j && <Pill tone={j.running > 0 ? 'busy' : 'idle'}>{j.running} running</Pill>}
      {j && (
        <Pill tone={j.queued > 20 || j.waited > 30 ? 'warn' : 'idle'} title="For how long the oldest of them has waited">
          {j.queued} queued{j.queued > 0 && `, for ${span(j.waited)}`}
        </Pill>
      )}
      {j && j.retrying > 0 && <Pill tone="warn">{j.retrying} retrying</Pill>}
      {workers && (
        <Pill tone={workers.ok ? 'ok' : 'bad'} title={workers.message ?? ''}>
          {workers.ok ? 'Workers are there' : (workers.message ?? 'No worker')}
        </Pill>
      )}
    </span>
  )
}

function QueueAdmin() {
  const { queueAdmin } = useSession()
  if (!queueAdmin) return null
  return (
    <a href="/dashboard/queues" target="_blank" rel="noreferrer" className={buttonStyle()}>
      Open queue admin <ExternalLink aria-hidden className="size-3.5" />
    </a>
  )
}
