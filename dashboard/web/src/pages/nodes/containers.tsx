import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { api, call } from '@/api/client'
import { bytes, percent } from '@/lib/format'
import { useContainer } from '@/live/hooks'
import { containers } from '@/live/live'
import { Problem, Skeleton } from '@/ui/panel'
import { StatusOf, usageOf } from '../containers/row'

/** NodeContainers are the containers of a node, the newest first. */
export function NodeContainers({ id }: { id: string }) {
  const list = useQuery({
    queryKey: ['containers', 'node', id],
    queryFn: async ({ signal }) => {
      const got = await call(api.GET('/api/containers', { params: { query: { limit: 50, node: id } as { limit: number } }, signal }))
      for (const c of got.containers) containers.set(c)
      return got.containers.filter((c) => c.node === id).map((c) => c.id)
    },
  })
  if (list.isPending)
    return (
      <div className="p-3">
        <Skeleton lines={3} />
      </div>
    )
  if (list.error) return <Problem error={list.error} retry={() => void list.refetch()} className="m-3" />
  if (list.data.length === 0) return <p className="p-4 text-center text-muted">There is none.</p>
  return (
    <ul className="divide-y divide-line">
      {list.data.map((c) => (
        <Row key={c} id={c} />
      ))}
    </ul>
  )
}

/** Row is a container in a short list. */
export function Row({ id }: { id: string }) {
  const c = useContainer(id)
  if (!c) return null
  const usage = usageOf(c)
  return (
    <li className="flex min-h-9 items-center gap-2 px-3">
      <Link to="/containers" search={{ open: c.id }} className="font-mono font-medium hover:underline">
        {c.id}
      </Link>
      <span className="min-w-0 flex-1 truncate text-muted">{c.owner}</span>
      <span className="flex items-center gap-1">
        <StatusOf c={c} />
      </span>
      <span className="num w-12 text-right text-muted">{usage ? percent(usage.cpu) : '–'}</span>
      <span className="num w-20 text-right text-muted max-sm:hidden">{bytes(usage?.memory)}</span>
    </li>
  )
}
