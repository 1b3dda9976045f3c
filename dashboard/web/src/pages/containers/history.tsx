import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect } from 'react'
import { eventsQuery, jobQuery } from '@/api/queries'
import type { Container, Event } from '@/api/types'
import { dateTime, sentence } from '@/lib/format'
import { useJob } from '@/live/hooks'
import { LongText, Panel, Problem, Skeleton } from '@/ui/panel'
import { JobHead, Timeline } from '@/ui/timeline'
import { Ago } from '@/ui/time'

/** History is the steps of the latest job, and all that ever happened. */
export function History({ c }: { c: Container }) {
  const queries = useQueryClient()
  const events = useQuery(eventsQuery(c.id))
  const asked = useQuery({ ...jobQuery(c.jobId ?? ''), enabled: c.jobId !== undefined })
  const job = useJob(c.jobId) ?? asked.data
  useEffect(() => {
    void queries.invalidateQueries({ queryKey: ['events', c.id] })
  }, [queries, c.id, c.status, c.jobId, job?.status])
  return (
    <div className="space-y-4">
      {job && (
        <Panel title={<JobHead job={job} />}>
          <Timeline job={job} />
          {job.error && <LongText text={job.error.message} className="mt-2 text-bad" />}
        </Panel>
      )}
      <Panel title="Events" flush>
        {events.isPending ? (
          <div className="p-3">
            <Skeleton lines={4} />
          </div>
        ) : events.error ? (
          <Problem error={events.error} retry={() => void events.refetch()} className="m-3" />
        ) : (
          <ol className="divide-y divide-line">
            {events.data.toReversed().map((e) => (
              <EventRow key={e.id} event={e} />
            ))}
          </ol>
        )}
      </Panel>
    </div>
  )
}

function EventRow({ event: e }: { event: Event }) {
  return (
    <li className="px-3 py-2">
      <p className="flex flex-wrap items-baseline gap-x-2">
        <span className="font-medium">{sentence(e.type.replace(/^[a-z]+\./, ''))}</span>
        {e.by && <span className="text-xs text-muted">by {e.by}</span>}
        <span className="ml-auto text-xs text-muted">
          <Ago at={e.at} />
        </span>
      </p>
      {e.message && <LongText text={e.message} className="text-muted" />}
      {e.receipt && (
        <p className="mt-1 rounded bg-sunken px-2 py-1 text-xs text-muted" data-receipt>
          Reason: {e.receipt.reason.replace('_', ' ')}
          {e.receipt.lastActivity && `; last used ${dateTime(e.receipt.lastActivity)}${e.receipt.source ? `, ${e.receipt.source}` : ''}${e.receipt.signal ? `, seen by the ${e.receipt.signal}` : ''}`}
          {e.receipt.stopsAt && `; due ${dateTime(e.receipt.stopsAt)}`}
        </p>
      )}
      {e.log && e.log.length > 0 && (
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls
        <pre tabIndex={0} className="mt-1 max-h-40 overflow-auto rounded bg-sunken p-2 font-mono text-xs">
          {e.log.join('\n')}
        </pre>
      )}
    </li>
  )
}
