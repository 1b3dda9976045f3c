import { Link } from '@tanstack/react-router'
import type { Container } from '@/api/types'
import { bytes } from '@/lib/format'
import { useContainer } from '@/live/hooks'
import { Share } from '@/ui/meter'
import { Panel } from '@/ui/panel'
import { Status } from '@/ui/status'
import { usageOf, workspace } from '../containers/row'

/** Active are the containers that use most. */
export function Active({ list }: { list: Container[] }) {
  return (
    <Panel
      title="Most active"
      flush
      aside={
        <Link to="/containers" search={{ sort: '-cpu' }} className="link text-xs">
          All containers
        </Link>
      }
    >
      {list.length === 0 ? (
        <p className="p-3 text-muted">No container runs.</p>
      ) : (
        <table className="w-full table-fixed text-left">
          <caption className="sr-only">The most active containers</caption>
          <thead className="text-xs text-muted">
            <tr className="h-8">
              <th scope="col" className="px-3 font-medium">Container</th>
              <th scope="col" className="w-24 px-2 font-medium max-sm:hidden">Owner</th>
              <th scope="col" className="w-24 px-2 font-medium">Status</th>
              <th scope="col" className="w-24 px-2 font-medium">CPU</th>
              <th scope="col" className="w-28 px-2 font-medium max-sm:hidden">Memory</th>
            </tr>
          </thead>
          <tbody>
            {list.map((c) => (
              <Row key={c.id} first={c} />
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  )
}

function Row({ first }: { first: Container }) {
  const c = useContainer(first.id) ?? first
  const usage = usageOf(c) ?? usageOf(first)
  return (
    <tr className="h-9 border-t border-line">
      <th scope="row" className="truncate px-3 font-normal">
        <Link to="/containers" search={{ open: c.id }} className="font-mono font-medium hover:underline">
          {c.id}
        </Link>
        <span className="ml-2 text-muted">{workspace(c)}</span>
      </th>
      <td className="truncate px-2 text-muted max-sm:hidden">{c.owner}</td>
      <td className="truncate px-2">
        <Status state={c.status} />
      </td>
      <td className="px-2">
        <Share label="CPU of its limit" value={usage?.cpu} />
      </td>
      <td className="num px-2 max-sm:hidden">{bytes(usage?.memory)}</td>
    </tr>
  )
}
