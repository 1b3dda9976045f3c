import { Clock } from 'lucide-react'
import { useState } from 'react'
import { keepAlive } from '@/actions/containers'
import { Button } from '@/ui/button'
import { Field, Input } from '@/ui/field'
import { Menu } from '@/ui/menu'
import { Modal } from '@/ui/overlay'
import { useNow } from '@/ui/time'

const hours = [1, 4, 8, 24]

/** KeepAlive puts the idle stop off: by the timeout, for some hours, or until an instant. */
export function KeepAlive({ id }: { id: string }) {
  const [asking, setAsking] = useState(false)
  return (
    <>
      <Menu
        label="Keep alive"
        trigger={
          <Button size="sm">
            <Clock aria-hidden className="size-3.5" /> Keep alive
          </Button>
        }
        items={[
          { label: 'As if it were used now', run: () => void keepAlive(id) },
          '-',
          ...hours.map((h) => ({ label: `For ${h} ${h === 1 ? 'hour' : 'hours'}`, run: () => void keepAlive(id, new Date(Date.now() + h * 3_600_000)) })),
          '-',
          { label: 'Until…', run: () => setAsking(true) },
        ]}
      />
      <Until id={id} open={asking} onClose={() => setAsking(false)} />
    </>
  )
}

const local = (d: Date) => new Date(d.getTime() - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)

const tonight = () => local(new Date(Date.now() + 12 * 3_600_000))

function Until({ id, open, onClose }: { id: string; open: boolean; onClose: () => void }) {
  const [value, setValue] = useState(tonight)
  const at = new Date(value)
  const now = useNow()
  return (
    <Modal
      open={open}
      onClose={onClose}
      title={`Keep ${id} alive`}
      footer={
        <Button
          look="primary"
          disabled={!(at.getTime() > now)}
          onClick={() => {
            onClose()
            void keepAlive(id, at)
          }}
        >
          Keep alive
        </Button>
      }
    >
      <Field label="Until" required hint="By the clock of this browser. The server may allow less.">
        <Input type="datetime-local" value={value} min={local(new Date(now))} onChange={(e) => setValue(e.target.value)} />
      </Field>
    </Modal>
  )
}
