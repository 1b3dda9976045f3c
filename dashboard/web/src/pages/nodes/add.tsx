import { useQuery } from '@tanstack/react-query'
import { CircleCheck, Eye, EyeOff } from 'lucide-react'
import { useState } from 'react'
import { api, call } from '@/api/client'
import type { Node } from '@/api/types'
import { Button } from '@/ui/button'
import { Copy } from '@/ui/copy'
import { Field, Select } from '@/ui/field'
import { Modal } from '@/ui/overlay'
import { Problem, Skeleton } from '@/ui/panel'
import { Spinner } from '@/ui/spinner'
import { NodeState } from './state'

/** AddNode shows how a machine joins, and waits until it has. */
export function AddNode({ open, nodes, onClose }: { open: boolean; nodes: Node[] | undefined; onClose: () => void }) {
  return (
    <Modal open={open} onClose={onClose} title="Add a node" wide footer={<Button onClick={onClose}>Close</Button>}>
      <Body nodes={nodes} />
    </Modal>
  )
}

function Body({ nodes }: { nodes: Node[] | undefined }) {
  const [role, setRole] = useState<'worker' | 'manager'>('worker')
  const [shown, setShown] = useState(false)
  const [before, setBefore] = useState(nodes)
  if (!before && nodes) setBefore(nodes)
  const known = new Set(before?.map((n) => n.id))
  const fresh = nodes?.filter((n) => before && !known.has(n.id)) ?? []
  const join = useQuery({
    queryKey: ['join', role],
    gcTime: 0,
    staleTime: 0,
    queryFn: ({ signal }) => call(api.GET('/api/nodes/join-token', { params: { query: { role } }, signal })),
  })
  return (
    <div className="space-y-4">
      <Field label="Role" required hint={role === 'worker' ? 'It runs containers.' : 'It runs containers and takes part in the decisions of the Swarm. Three or five managers are a good number.'}>
        <Select value={role} onChange={(e) => setRole(e.target.value as 'worker')} className="w-40">
          <option value="worker">worker</option>
          <option value="manager">manager</option>
        </Select>
      </Field>
      <div>
        <p className="mb-1 font-medium">Run this on the machine, as root</p>
        {join.isPending ? (
          <Skeleton className="h-12" />
        ) : join.error ? (
          <Problem error={join.error} retry={() => void join.refetch()} />
        ) : (
          <div className="flex items-start gap-1 rounded-md border border-line bg-sunken p-2.5">
            <code className="min-w-0 flex-1 font-mono text-xs break-all">{shown ? join.data.command : join.data.command.replace(join.data.token, '•'.repeat(24))}</code>
            <Button size="icon" look="ghost" aria-label={shown ? 'Hide the token' : 'Show the token'} onClick={() => setShown(!shown)}>
              {shown ? <EyeOff className="size-4" /> : <Eye className="size-4" />}
            </Button>
            <Copy text={join.data.command} label="Copy the command" />
          </div>
        )}
        <p className="mt-1 text-xs text-muted">Whoever has the token can join a machine. Docker has to be installed there, and ports 2377, 7946 and 4789 open between the nodes.</p>
      </div>
      <div role="status" className="rounded-md border border-line p-3">
        {fresh.length === 0 ? (
          <p className="flex items-center gap-2 text-muted">
            <Spinner className="size-3.5" /> Waits for the node
          </p>
        ) : (
          fresh.map((n) => (
            <p key={n.id} className="flex flex-wrap items-center gap-2">
              <CircleCheck aria-hidden className="size-4 text-ok" />
              <strong>{n.hostname}</strong> has joined <NodeState node={n} />
              {!n.placeable && <span className="text-muted">It gets its worker and the images; then it takes containers.</span>}
              {n.placeable && <span className="text-muted">It takes containers.</span>}
            </p>
          ))
        )}
      </div>
    </div>
  )
}
