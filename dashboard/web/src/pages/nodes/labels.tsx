import { useState } from 'react'
import { setLabels } from '@/actions/nodes'
import type { Node } from '@/api/types'
import { Button } from '@/ui/button'
import { Field, TextArea } from '@/ui/field'
import { Modal } from '@/ui/overlay'

/** parseLabels reads lines of name=value; a wrong line is the answer instead. */
export function parseLabels(text: string): Record<string, string> | string {
  const out: Record<string, string> = {}
  for (const line of text.split('\n').map((l) => l.trim())) {
    if (line === '') continue
    const at = line.indexOf('=')
    if (at < 1) return `"${line}" is no name=value.`
    out[line.slice(0, at).trim()] = line.slice(at + 1).trim()
  }
  return out
}

/** Labels changes a node's labels, by which placement chooses nodes. */
export function Labels({ node, open, onClose }: { node: Node; open: boolean; onClose: () => void }) {
  return (
    <Modal open={open} onClose={onClose} title={`Labels of ${node.hostname}`}>
      <Form node={node} onClose={onClose} />
    </Modal>
  )
}

function Form({ node, onClose }: { node: Node; onClose: () => void }) {
  const [text, setText] = useState(() =>
    Object.entries(node.labels ?? {})
      .map(([k, v]) => `${k}=${v}`)
      .join('\n'),
  )
  const labels = parseLabels(text)
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault()
        if (typeof labels === 'string') return
        onClose()
        void setLabels(node.id, node.hostname, labels)
      }}
    >
      <Field label="Labels" hint="One a line, name=value. Templates and requests choose by them: node.labels.gpu==true." error={typeof labels === 'string' ? labels : undefined}>
        <TextArea value={text} onChange={(e) => setText(e.target.value)} rows={5} className="font-mono" spellCheck={false} />
      </Field>
      <div className="mt-4 flex justify-end">
        <Button type="submit" look="primary" disabled={typeof labels === 'string'}>
          Set the labels
        </Button>
      </div>
    </form>
  )
}
