import { Link } from '@tanstack/react-router'
import { memo } from 'react'
import type { Job } from '@/api/types'
import { cn } from '@/lib/cn'
import { sentence, span } from '@/lib/format'
import { isOpen } from '@/lib/job'
import { useJob } from '@/live/hooks'
import { JobStatus } from '@/ui/timeline'
import { Ago, Since } from '@/ui/time'

/** targetOf is what a job is of: a container, a node, or nothing. */
export const targetOf = (j: Job): string => j.id.split(':')[1] ?? ''

/** JobRow is a job in the list, live. */
export const JobRow = memo(function JobRow({ id, open, onOpen }: { id: string; open: boolean; onOpen: () => void }) {
  const job = useJob(id)
  if (!job) return null
  return (
    <tr className={cn('h-(--row) border-b border-line', open ? 'bg-selected' : 'hover:bg-hover')}>
      <th scope="row" className="truncate px-3 text-left font-normal">
        <Link from="/jobs" to="/jobs" search={(s) => ({ ...s, open: id })} onClick={onOpen} className="font-medium hover:underline">
          {sentence(job.function)}
        </Link>
        {job.error && <span className="ml-2 text-muted">{job.error.message}</span>}
      </th>
      <td className="truncate px-2">
        <JobStatus job={job} />
      </td>
      <td className="truncate px-2 font-mono text-xs max-md:hidden">
        {job.containerId ? (
          <Link to="/containers" search={{ open: job.containerId }} className="hover:underline">
            {job.containerId}
          </Link>
        ) : (
          <span className="text-muted">{targetOf(job) || '–'}</span>
        )}
      </td>
      <td className="truncate px-2 text-muted max-lg:hidden">{job.owner ?? 'schedule'}</td>
      <td className="num px-2 text-right text-muted max-lg:hidden">{job.attempt > 1 ? `${job.attempt} of ${job.maxAttempts}` : job.attempt}</td>
      <td className="num px-2 text-right text-muted max-sm:hidden">
        <Took job={job} />
      </td>
      <td className="num truncate px-3 text-right text-muted max-sm:hidden">
        <Ago at={job.queuedAt} />
      </td>
    </tr>
  )
})

export function Took({ job }: { job: Job }) {
  if (job.finishedAt) return span((Date.parse(job.finishedAt) - Date.parse(job.queuedAt)) / 1_000)
  return isOpen(job) ? <Since at={job.queuedAt} /> : '–'
}
