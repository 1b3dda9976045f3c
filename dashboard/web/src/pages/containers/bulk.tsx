import { Play, RotateCw, Square, Trash2, X } from 'lucide-react'
import { type BulkAction, bulk } from '@/actions/containers'
import { count } from '@/lib/format'
import { containers } from '@/live/live'
import { Button, IconButton } from '@/ui/button'
import type { Question } from '@/ui/overlay'

/** Bulk does the same to all that are chosen. The server does it, in one job, so that it goes on when the page is left. */
export function Bulk({ ids, onDone, ask }: { ids: ReadonlySet<string>; onDone: () => void; ask: (q: Question) => void }) {
  const all = [...ids]
  const unsaved = all.filter((id) => containers.get(id)?.unsaved)
  const run = (action: BulkAction) => void bulk(action, all).then((ok) => ok && onDone())
  return (
    <div role="toolbar" aria-label="What to do with the chosen containers" className="flex flex-wrap items-center gap-1.5 border-b border-line bg-selected px-3 py-1.5">
      <span className="num mr-1 font-medium">{all.length} chosen</span>
      <Button size="sm" onClick={() => run('start')}>
        <Play aria-hidden className="size-3.5" /> Start
      </Button>
      <Button size="sm" onClick={() => run('stop')}>
        <Square aria-hidden className="size-3.5" /> Stop
      </Button>
      <Button size="sm" onClick={() => run('restart')}>
        <RotateCw aria-hidden className="size-3.5" /> Restart
      </Button>
      <Button
        size="sm"
        look="quiet"
        onClick={() => ask(askDelete(all.length, unsaved.length, () => run('delete')))}
      >
        <Trash2 aria-hidden className="size-3.5" /> Delete
      </Button>
      <IconButton label="Choose none" onClick={onDone} className="ml-auto">
        <X className="size-4" />
      </IconButton>
    </div>
  )
}

// askDelete names what is lost with so many.
function askDelete(all: number, unsaved: number, run: () => void): Question {
  return {
    title: `Delete ${count(all, 'container')}?`,
    action: `Delete ${all}`,
    ...(unsaved > 0 ? { typed: `delete ${all}` } : {}),
    body: (
      <>
        <p>Their records, histories and URLs go, and what their nodes have kept of the workspaces. Running ones are saved and stopped first.</p>
        {unsaved > 0 ? (
          <p>
            <strong>{count(unsaved, 'container')} of them hold files that are in no bucket: they are lost for good.</strong>
          </p>
        ) : (
          <p className="text-muted">What is saved in the buckets stays there.</p>
        )}
      </>
    ),
    run,
  }
}
