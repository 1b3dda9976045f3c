import { Activity, ArrowRightLeft, Clock, ExternalLink, Play, RotateCw, Save, ScrollText, Square, Trash2, Zap } from 'lucide-react'
import type { Container } from '@/api/types'
import { ago } from '@/lib/format'
import type { Item } from '@/ui/menu'
import type { Question } from '@/ui/overlay'
import * as actions from './containers'

interface Hands {
  ask: (q: Question) => void
  logs: () => void
  move?: (() => void) | undefined
}

/** menuFor lists what can be done to a container in its state, the usual first. */
export function menuFor(c: Container, change: boolean, hands: Hands): Item[] {
  const items: Item[] = []
  const add = (...more: Item[]) => items.push(...more)
  if (c.status === 'running') add({ label: 'Open code-server', icon: ExternalLink, href: c.urls.codeServer })
  add({ label: 'Show its logs', icon: ScrollText, run: hands.logs })
  if (!change) return items
  add('-')
  const live = c.status === 'running' || c.status === 'starting'
  if (c.status === 'stopped' || c.status === 'failed') add({ label: 'Start', icon: Play, run: () => void actions.start(c.id) })
  if (c.status === 'running') {
    add({ label: 'Restart', icon: RotateCw, run: () => void actions.restart(c.id) })
    add({ label: 'Keep alive', icon: Clock, run: () => void actions.keepAlive(c.id) })
    add({ label: 'Save now', icon: Save, run: () => void actions.save(c.id) })
    add({ label: 'Probe now', icon: Activity, run: () => void actions.probe(c.id) })
    if (hands.move) add({ label: 'Move to another node', icon: ArrowRightLeft, run: hands.move })
  }
  if (live) add('-', { label: 'Stop', icon: Square, run: () => void actions.stop(c.id) })
  if (live || c.status === 'stopping' || c.unsaved) add({ label: 'Force-stop', icon: Zap, danger: true, run: () => hands.ask(askForce(c)) })
  if (c.status !== 'stopping') add('-', { label: 'Delete', icon: Trash2, danger: true, run: () => hands.ask(askPurge(c)) })
  return items
}

const lastSave = (c: Container) => (c.lastSave?.generation ? `The last save is of ${ago(c.lastSave.at)}.` : 'It was never saved.')

/** askForce names what a forced stop gives up. */
export function askForce(c: Container): Question {
  return {
    title: `Force-stop ${c.id}?`,
    action: 'Force-stop',
    ...(c.unsaved ? { typed: c.id } : {}),
    body: (
      <>
        <p>
          It stops without a last save: <strong>what was changed since the last save is lost.</strong>
        </p>
        <p className="text-muted">{lastSave(c)}</p>
      </>
    ),
    run: () => actions.stop(c.id, true),
  }
}

/** askPurge names what deleting takes away. */
export function askPurge(c: Container): Question {
  return {
    title: `Delete ${c.id}?`,
    action: 'Delete',
    ...(c.unsaved ? { typed: c.id } : {}),
    body: (
      <>
        {(c.status === 'running' || c.status === 'starting') && <p>It is saved and stopped first.</p>}
        <p>Its record, its history and its URLs go, and what its node has kept of the workspace.</p>
        {c.unsaved ? (
          <p>
            <strong>Its node holds files that are in no bucket: they are lost for good.</strong> {lastSave(c)}
          </p>
        ) : (
          <p className="text-muted">
            What is saved in the bucket <code className="font-mono break-all">{c.s3Bucket}</code> stays there. {lastSave(c)}
          </p>
        )}
      </>
    ),
    run: () => actions.purge(c.id),
  }
}
