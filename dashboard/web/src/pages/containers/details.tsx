import { Link } from '@tanstack/react-router'
import { ExternalLink } from 'lucide-react'
import { useQuery } from '@tanstack/react-query'
import { containerUsageQuery } from '@/api/queries'
import type { Container, Node } from '@/api/types'
import { bytes, cores, dateTime, percent, span } from '@/lib/format'
import { isOpen } from '@/lib/job'
import { useCan } from '@/lib/session'
import { useJob } from '@/live/hooks'
import { Chart } from '@/ui/chart'
import { Copy } from '@/ui/copy'
import { Fact, Facts } from '@/ui/list'
import { LongText, Panel, Problem, Skeleton } from '@/ui/panel'
import { Status } from '@/ui/status'
import { JobHead, Timeline } from '@/ui/timeline'
import { Ago, Since, useNow } from '@/ui/time'
import { KeepAlive } from './keepalive'
import { silent, usageOf, workspace } from './row'

const why: Record<string, string> = {
  inactivity: 'It was not used.',
  manual: 'Somebody stopped it.',
  error: 'Something went wrong.',
  resource_limit: 'It had reached a limit of time or resources.',
}

/** Details is a container at a glance: its state and why, its URLs, what it uses of what it may. */
export function Details({ c, nodes }: { c: Container; nodes: Node[] | undefined }) {
  const job = useJob(c.jobId)
  return (
    <div className="space-y-4">
      {(c.error || c.unsaved || c.lastSave?.error) && (
        <div role="status" className="space-y-1 rounded-md border border-line bg-bad-soft p-3">
          {c.error && (
            <>
              <p className="font-medium text-bad">{c.status === 'failed' ? 'It has failed' : 'It has gone wrong'}</p>
              <LongText text={c.error.message} />
              {c.jobId && (
                <Link to="/jobs" search={{ open: c.jobId }} className="link text-xs">
                  Show the job
                </Link>
              )}
            </>
          )}
          {c.unsaved && <p>Its node holds files that could not be saved. Another start or stop tries again; a forced stop or deleting gives them up.</p>}
          {c.lastSave?.error && <LongText text={`Saving fails: ${c.lastSave.error.message}`} />}
        </div>
      )}
      {job && isOpen(job) && (
        <Panel title={<JobHead job={job} />}>
          <Timeline job={job} />
        </Panel>
      )}
      {c.status === 'running' && <Links c={c} />}
      {c.status === 'running' && <UsePanel c={c} />}
      <Panel title="State">
        <Facts>
          <Fact name="Status">
            <Status state={c.status} />
            {c.shutdownReason && c.status !== 'running' && c.status !== 'starting' && <span className="ml-2 text-muted">{why[c.shutdownReason] ?? c.shutdownReason}</span>}
          </Fact>
          {c.status === 'running' && c.health && (
            <Fact name="Health">
              {c.health.status}
              {c.health.status === 'unhealthy' && <span className="text-bad"> ({silent(c)} does not answer)</span>}
              <span className="text-muted">
                , looked at <Ago at={c.health.lastCheck} />
              </span>
            </Fact>
          )}
          {c.status === 'running' && c.startedAt && (
            <Fact name="Runs since">
              <Since at={c.startedAt} /> <span className="text-muted">({dateTime(c.startedAt)})</span>
            </Fact>
          )}
          {c.stoppedAt && c.status !== 'running' && (
            <Fact name="Stopped">
              <Ago at={c.stoppedAt} />
            </Fact>
          )}
          {c.idle && (
            <>
              <Fact name="Last used">
                <Ago at={c.idle.lastActivity} />
                {c.idle.source && <span className="text-muted">, {c.idle.source === 'start' ? 'when it was started' : `in the ${c.idle.source}`}</span>}
              </Fact>
              <Fact name="Stops">{c.idle.stopsAt ? <Stops c={c} /> : <span className="text-muted">never by itself</span>}</Fact>
            </>
          )}
          <Fact name="Last save">
            {c.lastSave?.generation ? (
              <>
                <Ago at={c.lastSave.at} />
                <span className="text-muted">
                  , {c.lastSave.files.toLocaleString('en')} files, {bytes(c.lastSave.bytes)}, {span(c.lastSave.seconds)}
                  {c.lastSave.verified ? ', verified' : ''}
                </span>
              </>
            ) : (
              <span className="text-muted">none yet</span>
            )}
          </Fact>
          <Fact name="Limits">
            {c.resourceLimits.cpuLimit} cores, {c.resourceLimits.memoryLimit}
          </Fact>
          <Fact name="Node">
            {c.node ? (
              <Link to="/nodes" search={{ open: c.node }} className="link">
                {nodes?.find((n) => n.id === c.node)?.hostname ?? c.node}
              </Link>
            ) : (
              '–'
            )}
          </Fact>
          <Fact name="Workspace">
            <code className="font-mono break-all">{workspace(c)}</code> <span className="text-muted">{c.s3Region}</span>
          </Fact>
          <Fact name="Owner">{c.owner}</Fact>
          {c.template && <Fact name="Template">{c.template}</Fact>}
          <Fact name="Image">
            <code className="font-mono break-all">{c.image}</code>
          </Fact>
          <Fact name="Service">
            <code className="font-mono break-all">{c.serviceName}</code>
          </Fact>
          {c.labels && Object.keys(c.labels).length > 0 && (
            <Fact name="Labels">
              {Object.entries(c.labels).map(([k, v]) => (
                <code key={k} className="mr-1.5 mb-1 inline-block rounded bg-idle-soft px-1.5 font-mono text-xs break-all">
                  {k}={v}
                </code>
              ))}
            </Fact>
          )}
          <Fact name="Created">
            <Ago at={c.createdAt} />
          </Fact>
        </Facts>
      </Panel>
    </div>
  )
}

function Stops({ c }: { c: Container }) {
  const { change } = useCan()
  const now = useNow(10)
  return (
    <span className="flex flex-wrap items-center gap-2">
      <span title={c.idle?.stopsAt && dateTime(c.idle.stopsAt)}>
        <Ago at={c.idle?.stopsAt} /> <span className="text-muted">{c.idle?.keepUntil && Date.parse(c.idle.keepUntil) > now ? `(kept alive for ${span((Date.parse(c.idle.keepUntil) - now) / 1_000)})` : 'unless it is used'}</span>
      </span>
      {change && c.idle?.reason !== 'resource_limit' && <KeepAlive id={c.id} />}
    </span>
  )
}

function Links({ c }: { c: Container }) {
  const rows = [
    ['code-server', c.urls.codeServer, c.health?.checks.codeServer],
    ['Desktop', c.urls.vnc, c.health?.checks.vnc],
    ['Web server', c.urls.webServer, c.health?.checks.webServer],
  ] as const
  return (
    <Panel title="URLs" flush>
      <ul className="divide-y divide-line">
        {rows.map(([name, url, answers]) => (
          <li key={name} className="flex min-h-10 items-center gap-2 px-3">
            <span className="w-24 shrink-0 font-medium">{name}</span>
            <a href={url} target="_blank" rel="noreferrer" className="link min-w-0 flex-1 truncate font-mono text-xs">
              {url}
            </a>
            {answers === false && <span className="text-xs text-muted">nothing answers</span>}
            <Copy text={url} label={`Copy the URL of ${name}`} />
            <a href={url} target="_blank" rel="noreferrer" aria-label={`Open ${name}`} title="Open" className="grid size-7 place-items-center rounded-md text-muted hover:bg-hover hover:text-fg">
              <ExternalLink aria-hidden className="size-3.5" />
            </a>
          </li>
        ))}
      </ul>
    </Panel>
  )
}

function UsePanel({ c }: { c: Container }) {
  const usage = usageOf(c)
  const past = useQuery(containerUsageQuery(c.id, '15m'))
  return (
    <Panel
      title="Use"
      aside={
        usage && (
          <span className="num text-xs text-muted">
            {cores(usage.cores)} cores, {bytes(usage.memory)}, {usage.pids} processes{usage.restarts > 0 && `, ${usage.restarts} restarts`}
          </span>
        )
      }
    >
      {past.isPending ? (
        <Skeleton className="h-28" />
      ) : past.error ? (
        <Problem error={past.error} retry={() => void past.refetch()} />
      ) : past.data.points.length < 2 ? (
        <p className="py-6 text-center text-muted">Measured from the first minute on.</p>
      ) : (
        <Chart
          label="CPU and memory, percent of the limits, the last 15 minutes"
          height={120}
          times={past.data.points.map((p) => Date.parse(p.at) / 1_000)}
          series={[
            { label: 'CPU', values: past.data.points.map((p) => p.cpu), tone: 'accent' },
            { label: 'Memory', values: past.data.points.map((p) => p.memoryPercent), tone: 'busy' },
          ]}
          show={percent}
          most={100}
        />
      )}
    </Panel>
  )
}
