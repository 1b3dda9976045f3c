import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { Plus, Server } from 'lucide-react'
import { nodesQuery } from '@/api/queries'
import type { Node } from '@/api/types'
import { cn } from '@/lib/cn'
import { bytes, cores, count } from '@/lib/format'
import type { NodesSearch } from '@/lib/search'
import { useCan } from '@/lib/session'
import { useTitle } from '@/lib/title'
import { Button } from '@/ui/button'
import { PageHead } from '@/ui/list'
import { Meter } from '@/ui/meter'
import { Empty, Problem, Skeleton } from '@/ui/panel'
import { Ago } from '@/ui/time'
import { AddNode } from './add'
import { NodeDrawer } from './drawer'
import { NodeState } from './state'

/** Nodes are the machines: what each is, and how full. */
export default function Nodes() {
  useTitle('Nodes')
  const search = useSearch({ from: '/shell/nodes' })
  const navigate = useNavigate({ from: '/nodes' })
  const { admin } = useCan()
  const list = useQuery(nodesQuery)
  const set = (to: NodesSearch) => void navigate({ search: to, replace: true })
  const nodes = list.data?.nodes ?? []
  return (
    <div className="flex h-full min-h-0 flex-col p-4 max-md:p-3">
      <PageHead title="Nodes" note={list.data?.addresses && <span className="num text-xs">{count(list.data.addresses.free, 'free address', 'free addresses')}</span>}>
        {admin && (
          <Button look="primary" onClick={() => set({ add: true })}>
            <Plus aria-hidden className="size-4" /> Add a node
          </Button>
        )}
      </PageHead>
      <div className="min-h-0 flex-1 overflow-auto rounded-lg border border-line bg-surface" tabIndex={-1}>
        {list.error && <Problem what="The nodes could not be read." error={list.error} retry={() => void list.refetch()} className="m-2" />}
        {list.isPending ? (
          <div className="p-3">
            <Skeleton lines={5} className="h-8" />
          </div>
        ) : nodes.length > 0 ? (
          <table className="w-full text-left">
            <caption className="sr-only">Nodes</caption>
            <thead className="sticky top-0 z-10 border-b border-line bg-surface text-xs text-muted">
              <tr className="h-9">
                <th scope="col" className="px-3 font-medium">Node</th>
                <th scope="col" className="px-2 font-medium">State</th>
                <th scope="col" className="px-2 font-medium max-md:hidden">CPU</th>
                <th scope="col" className="px-2 font-medium max-md:hidden">Memory</th>
                <th scope="col" className="px-2 font-medium max-lg:hidden">Disk</th>
                <th scope="col" className="px-2 text-right font-medium">Containers</th>
                <th scope="col" className="px-2 font-medium max-xl:hidden">Engine</th>
                <th scope="col" className="px-3 text-right font-medium max-sm:hidden">Heard</th>
              </tr>
            </thead>
            <tbody>
              {nodes.map((n) => (
                <Row key={n.id} node={n} open={n.id === search.open} />
              ))}
            </tbody>
          </table>
        ) : (
          !list.error && (
            <Empty icon={Server} title="No node has reported yet">
              <p>A worker on a manager's node lists them, every few seconds. Is one running?</p>
            </Empty>
          )
        )}
      </div>
      <NodeDrawer id={search.open} nodes={list.data?.nodes} onClose={() => set({})} />
      {admin && <AddNode open={search.add === true} nodes={list.data?.nodes} onClose={() => set({})} />}
    </div>
  )
}

function Row({ node: n, open }: { node: Node; open: boolean }) {
  const grey = n.stale && 'grayscale'
  return (
    <tr className={cn('h-14 border-b border-line', open ? 'bg-selected' : 'hover:bg-hover')}>
      <th scope="row" className="max-w-64 px-3 font-normal">
        <Link to="/nodes" search={{ open: n.id }} className="block truncate font-medium hover:underline">
          {n.hostname}
        </Link>
        <span className="block truncate text-xs text-muted">
          {n.role} <span className="font-mono">{n.address}</span>
        </span>
      </th>
      <td className="px-2">
        <NodeState node={n} />
      </td>
      <td className={cn('w-40 px-2 max-md:hidden', grey)}>
        <p className="num mb-1 text-xs">
          {cores(n.cpu.used)} <span className="text-muted">of {cores(n.cpu.total)} cores</span>
        </p>
        <Meter label={`CPU of ${n.hostname}`} used={n.cpu.used} reserved={n.cpu.reserved} total={n.cpu.total} show={cores} />
      </td>
      <td className={cn('w-44 px-2 max-md:hidden', grey)}>
        <p className="num mb-1 text-xs">
          {bytes(n.memory.used)} <span className="text-muted">of {bytes(n.memory.total)}</span>
        </p>
        <Meter label={`Memory of ${n.hostname}`} used={n.memory.used} reserved={n.memory.reserved} total={n.memory.total} show={bytes} />
      </td>
      <td className={cn('w-44 px-2 max-lg:hidden', grey)}>
        <p className="num mb-1 text-xs">
          {bytes(n.disk.used)} <span className="text-muted">of {bytes(n.disk.total)}</span>
        </p>
        <Meter label={`Disk of ${n.hostname}`} used={n.disk.used} total={n.disk.total} show={bytes} />
      </td>
      <td className="num px-2 text-right">{n.containers}</td>
      <td className="px-2 text-muted max-xl:hidden">{n.engine}</td>
      <td className="px-3 text-right text-muted max-sm:hidden">
        <Ago at={n.lastReport} />
      </td>
    </tr>
  )
}
