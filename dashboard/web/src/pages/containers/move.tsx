import { useState } from 'react'
import { move } from '@/actions/containers'
import type { Node } from '@/api/types'
import { bytes, cores } from '@/lib/format'
import { useContainer } from '@/live/hooks'
import { Button } from '@/ui/button'
import { Field, Select } from '@/ui/field'
import { Modal } from '@/ui/overlay'

/** MoveDialog asks where a container shall go on. */
export function MoveDialog({ id, nodes, onClose }: { id: string | undefined; nodes: Node[] | undefined; onClose: () => void }) {
  const c = useContainer(id)
  const [node, setNode] = useState('')
  return (
    <Modal
      open={id !== undefined}
      onClose={onClose}
      title={`Move ${id ?? ''}`}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            look="primary"
            onClick={() => {
              onClose()
              if (id) void move(id, node || undefined)
            }}
          >
            Move
          </Button>
        </>
      }
    >
      <p className="mb-3">It is saved, stopped, and started again there from what was saved. Its URLs stay the same.</p>
      <Field label="To">
        <Select value={node} onChange={(e) => setNode(e.target.value)}>
          <option value="">the node with most room</option>
          {nodes
            ?.filter((n) => n.id !== c?.node)
            .map((n) => (
              <option key={n.id} value={n.id} disabled={!n.placeable}>
                {n.hostname} ({n.placeable ? `${cores(n.freeCpu)} cores, ${bytes(n.freeMemory)} free` : 'takes nothing now'})
              </option>
            ))}
        </Select>
      </Field>
    </Modal>
  )
}
