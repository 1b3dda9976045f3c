import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Boxes, CircleCheck, Plus } from 'lucide-react'
import { healthQuery, overviewQuery } from '@/api/queries'
import type { Node, Overview as Body } from '@/api/types'
import { bytes, cores, count } from '@/lib/format'
import { useCan } from '@/lib/session'
import { useTitle } from '@/lib/title'
import { buttonStyle } from '@/ui/button'
import { PageHead } from '@/ui/list'
import { Meter } from '@/ui/meter'
import { Empty, Panel, Problem, Skeleton } from '@/ui/panel'
import { Pill } from '@/ui/status'
import { NodeState } from '../nodes/state'
import { Active } from './active'
import { Attention } from './attention'
import { Past } from './past'
import { Tiles } from './tiles'

/** Overview says in five seconds whether all is well. */
export default function Overview() {
  useTitle('Overview')
  const overview = useQuery(overviewQuery)
  const { change } = useCan()
  const o = overview.data
  return (
    <div className="mx-auto max-w-7xl p-4 max-md:p-3">
      <PageHead title="Overview" note={<Health />}>
        {change && (
          <Link to="/containers" search={{ create: true }} className={buttonStyle({ look: 'primary' })}>
            <Plus aria-hidden className="size-4" /> Create
          </Link>
        )}
      </PageHead>
      {overview.error && <Problem what="The overview could not be read." error={overview.error} retry={() => void overview.refetch()} className="mb-3" />}
      {overview.isPending ? <Loading /> : o && (o.containers.total === 0 ? <First o={o} change={change} /> : <All o={o} />)}
    </div>
  )
}

function All({ o }: { o: Body }) {
  return (
    <div className="space-y-3">
      <Tiles o={o} />
      <div className="grid grid-cols-3 gap-3 max-lg:grid-cols-1">
        <Past what="cpu" title="CPU" amount={o.cpu} show={cores} unit="cores" />
        <Past what="memory" title="Memory" amount={o.memory} show={bytes} />
        <Past what="disk" title="Disk" amount={o.disk} show={bytes} />
      </div>
      <div className="grid grid-cols-2 items-start gap-3 max-xl:grid-cols-1">
        <div className="space-y-3">
          <Attention list={o.attention} />
          <Nodes nodes={o.nodes} />
        </div>
        <Active list={o.active} />
      </div>
    </div>
  )
}

function First({ o, change }: { o: Body; change: boolean }) {
  return (
    <div className="space-y-3">
      <Panel>
        <Empty icon={Boxes} title={change ? 'Create your first container' : 'There is no container yet'}>
          <p className="max-w-md">
            {o.nodeCounts.placeable > 0 ? `${count(o.nodeCounts.placeable, 'node')} with ${cores(o.cpu.total)} cores and ${bytes(o.memory.total)} ${o.nodeCounts.placeable === 1 ? 'is' : 'are'} ready.` : 'No node takes containers yet.'}
          </p>
          {change && (
            <Link to="/containers" search={{ create: true }} className={buttonStyle({ look: 'primary', className: 'mt-2' })}>
              <Plus aria-hidden className="size-4" /> Create a container
            </Link>
          )}
        </Empty>
      </Panel>
      <div className="grid grid-cols-2 items-start gap-3 max-xl:grid-cols-1">
        <Nodes nodes={o.nodes} />
        <Attention list={o.attention} />
      </div>
    </div>
  )
}

function Loading() {
  return (
    <div className="space-y-3">
      <div className="grid grid-cols-5 gap-3 max-lg:grid-cols-2">
        {['a', 'b', 'c', 'd', 'e'].map((k) => (
          <Skeleton key={k} className="h-20" />
        ))}
      </div>
      <Skeleton className="h-40" lines={2} />
    </div>
  )
}

// Health is said here only when it is bad, or costs something.
function Health() {
  const health = useQuery(healthQuery)
  const h = health.data
  if (!h) return null
  const bad = Object.entries(h.checks).filter(([, c]) => !c.ok)
  return (
    <span className="flex flex-wrap gap-1.5">
      {bad.length === 0 ? (
        <Pill tone="ok">
          <CircleCheck aria-hidden className="size-3" /> All checks pass
        </Pill>
      ) : (
        bad.map(([name, c]) => (
          <Pill key={name} tone="bad" title={c.message ?? ''}>
            {name}: {c.message ?? 'not well'}
          </Pill>
        ))
      )}
      {h.isolation === 'off' && <Pill tone="warn">containers are not isolated</Pill>}
      {h.workspaces === 'off' && <Pill tone="warn">workspaces are not kept</Pill>}
      {h.durability === 'snapshot' && <Pill tone="warn">a crash of Redis may cost 30 seconds</Pill>}
    </span>
  )
}

function Nodes({ nodes }: { nodes: Node[] }) {
  return (
    <Panel
      title="Nodes"
      flush
      aside={
        <Link to="/nodes" className="link text-xs">
          All nodes
        </Link>
      }
    >
      <ul className="max-h-96 divide-y divide-line overflow-auto">
        {nodes.map((n) => (
          <li key={n.id} className="grid grid-cols-[minmax(0,1.4fr)_1fr_1fr_auto] items-center gap-3 px-3 py-2 max-sm:grid-cols-2">
            <span className="flex min-w-0 flex-wrap items-center gap-x-2 gap-y-1">
              <Link to="/nodes" search={{ open: n.id }} className="truncate font-medium hover:underline">
                {n.hostname}
              </Link>
              <NodeState node={n} />
            </span>
            <span>
              <span className="num mb-1 block text-xs text-muted">CPU {cores(n.cpu.used)} of {cores(n.cpu.total)}</span>
              <Meter label={`CPU of ${n.hostname}`} used={n.cpu.used} reserved={n.cpu.reserved} total={n.cpu.total} show={cores} />
            </span>
            <span>
              <span className="num mb-1 block text-xs text-muted">{bytes(n.memory.used)} of {bytes(n.memory.total)}</span>
              <Meter label={`Memory of ${n.hostname}`} used={n.memory.used} reserved={n.memory.reserved} total={n.memory.total} show={bytes} />
            </span>
            <span className="num w-10 text-right text-muted" title={count(n.containers, 'container')}>
              {n.containers}
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  )
}
