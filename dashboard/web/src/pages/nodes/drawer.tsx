import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Moon, Play, Tag, Trash2 } from 'lucide-react'
import { useState } from 'react'
import * as actions from '@/actions/nodes'
import { nodeUsageQuery } from '@/api/queries'
import type { Node } from '@/api/types'
import { bytes, cores, count, digits, percent } from '@/lib/format'
import { useCan } from '@/lib/session'
import { Button } from '@/ui/button'
import { Chart } from '@/ui/chart'
import { Copy } from '@/ui/copy'
import { Fact, Facts } from '@/ui/list'
import { Confirm, Drawer, type Question } from '@/ui/overlay'
import { Empty, Panel, Problem, Skeleton } from '@/ui/panel'
import { Ago } from '@/ui/time'
import { NodeContainers } from './containers'
import { Labels } from './labels'
import { NodeState } from './state'

/** NodeDrawer shows one node: what it uses, what runs there, and what can be done with it. */
export function NodeDrawer({ id, nodes, onClose }: { id: string | undefined; nodes: Node[] | undefined; onClose: () => void }) {
  const [shown, setShown] = useState(id)
  if (id !== undefined && id !== shown) setShown(id)
  const node = nodes?.find((n) => n.id === shown)
  return (
    <Drawer
      open={id !== undefined}
      onClose={onClose}
      title={
        <>
          <span className="truncate">{node?.hostname ?? 'Node'}</span>
          {node && <NodeState node={node} />}
        </>
      }
      header={node && nodes && <Actions node={node} nodes={nodes} />}
    >
      {node ? (
        <Body node={node} />
      ) : nodes ? (
        <Empty title="There is no such node">
          <p>It has left the Swarm.</p>
        </Empty>
      ) : (
        <div className="p-4">
          <Skeleton lines={6} />
        </div>
      )}
    </Drawer>
  )
}

function Actions({ node: n, nodes }: { node: Node; nodes: Node[] }) {
  const { admin } = useCan()
  const [question, setQuestion] = useState<Question>()
  const [labels, setLabels] = useState(false)
  if (!admin) return null
  const lastManager = n.role === 'manager' && nodes.filter((x) => x.role === 'manager').length === 1
  const askDrain: Question = {
    title: `Drain ${n.hostname}?`,
    action: 'Drain',
    body: (
      <>
        <p>
          Its {count(n.containers, 'container')} {n.containers === 1 ? 'is' : 'are'} saved and moved to other nodes, one after the other; each is away for some seconds. It takes no new ones.
        </p>
        {nodes.every((x) => x.id === n.id || !x.placeable) && (
          <p>
            <strong>No other node takes containers now: they cannot be moved.</strong>
          </p>
        )}
      </>
    ),
    run: () => actions.drain(n.id, n.hostname),
  }
  const askRemove: Question = {
    title: `Remove ${n.hostname}?`,
    action: 'Remove',
    typed: n.hostname,
    body: (
      <>
        <p>
          It leaves the Swarm. Run <code className="font-mono">docker swarm leave</code> on it first, if it can still be reached.
        </p>
        {n.containers > 0 && (
          <p>
            <strong>{count(n.containers, 'container')} of Berth hold a place there: drain it first, or what they have not saved is lost.</strong>
          </p>
        )}
      </>
    ),
    run: () => actions.remove(n.id, n.hostname),
  }
  return (
    <div className="px-4 pb-3">
      <div className="flex flex-wrap gap-2">
        {n.availability === 'active' ? (
          <Button onClick={() => setQuestion(askDrain)}>
            <Moon aria-hidden className="size-4" /> Drain
          </Button>
        ) : (
          <Button look="primary" onClick={() => void actions.activate(n.id, n.hostname)}>
            <Play aria-hidden className="size-4" /> Activate
          </Button>
        )}
        <Button onClick={() => setLabels(true)}>
          <Tag aria-hidden className="size-4" /> Labels
        </Button>
        <Button look="quiet" disabled={lastManager} title={lastManager ? 'The last manager cannot be removed' : undefined} onClick={() => setQuestion(askRemove)}>
          <Trash2 aria-hidden className="size-4" /> Remove
        </Button>
      </div>
      {n.availability !== 'active' && n.containers > 0 && (
        <p role="status" className="mt-2 text-warn">
          {count(n.containers, 'container')} remain here.
        </p>
      )}
      <Confirm question={question} onClose={() => setQuestion(undefined)} />
      <Labels node={n} open={labels} onClose={() => setLabels(false)} />
    </div>
  )
}

function Body({ node: n }: { node: Node }) {
  return (
    <div className="space-y-4 p-4">
      <Past id={n.id} />
      <Panel title="State">
        <Facts>
          <Fact name="CPU">
            {n.stale ? 'not measured now' : `${cores(n.cpu.used)} used, `}
            {cores(n.cpu.reserved)} of {cores(n.cpu.total)} cores reserved
          </Fact>
          <Fact name="Memory">
            {!n.stale && `${bytes(n.memory.used)} used, `}
            {bytes(n.memory.reserved)} of {bytes(n.memory.total)} reserved
          </Fact>
          <Fact name="Disk">{n.disk.total > 0 ? `${bytes(n.disk.used)} of ${bytes(n.disk.total)}, ${percent(n.disk.percent)}` : '–'}</Fact>
          <Fact name="Load">{n.load.length > 0 ? n.load.map(digits).join(', ') : '–'}</Fact>
          <Fact name="Network">
            {bytes(n.network.in)}/s in, {bytes(n.network.out)}/s out
          </Fact>
          {n.stall && (
            <Fact name="Waiting for">
              CPU {percent(n.stall.cpu)}, memory {percent(n.stall.memory)}, disk {percent(n.stall.io)} <span className="text-muted">of the last 10 s</span>
            </Fact>
          )}
          <Fact name="Role">{n.role}</Fact>
          <Fact name="Address">
            <code className="font-mono">{n.address}</code>
          </Fact>
          <Fact name="Engine">
            {n.engine}
            {n.storageDriver && <span className="text-muted">, {n.storageDriver}</span>}
          </Fact>
          <Fact name="Last report">
            <Ago at={n.lastReport} />
          </Fact>
          <Fact name="Labels">
            {Object.entries(n.labels ?? {}).map(([k, v]) => (
              <code key={k} className="mr-1.5 inline-block rounded bg-idle-soft px-1.5 font-mono text-xs break-all">
                {k}={v}
              </code>
            ))}
            {Object.keys(n.labels ?? {}).length === 0 && '–'}
          </Fact>
          <Fact name="ID">
            <span className="flex items-center gap-1">
              <code className="font-mono break-all">{n.id}</code>
              <Copy text={n.id} label="Copy the ID" />
            </span>
          </Fact>
        </Facts>
      </Panel>
      <Panel
        title="Containers"
        flush
        aside={
          <Link to="/containers" search={{ node: n.id }} className="link text-xs">
            Show them all
          </Link>
        }
      >
        <NodeContainers id={n.id} />
      </Panel>
    </div>
  )
}

function Past({ id }: { id: string }) {
  const past = useQuery(nodeUsageQuery(id, '15m'))
  return (
    <Panel title="The last 15 minutes">
      {past.isPending ? (
        <Skeleton className="h-32" />
      ) : past.error ? (
        <Problem error={past.error} retry={() => void past.refetch()} />
      ) : past.data.points.length < 2 ? (
        <p className="py-6 text-center text-muted">Nothing was measured yet.</p>
      ) : (
        <Chart
          label="CPU, memory and disk of the node, the last 15 minutes"
          times={past.data.points.map((p) => Date.parse(p.at) / 1_000)}
          series={[
            { label: 'CPU', values: past.data.points.map((p) => p.cpu), tone: 'accent' },
            { label: 'Memory', values: past.data.points.map((p) => p.memory), tone: 'busy' },
            { label: 'Disk', values: past.data.points.map((p) => p.disk), tone: 'warn' },
          ]}
          show={percent}
          most={100}
        />
      )}
    </Panel>
  )
}
