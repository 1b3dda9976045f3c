import { useQuery } from '@tanstack/react-query'
import { History as HistoryIcon, Save } from 'lucide-react'
import { useEffect, useState } from 'react'
import * as actions from '@/actions/containers'
import { generationsQuery } from '@/api/queries'
import type { Container, Generation } from '@/api/types'
import { bytes, count, dateTime, span } from '@/lib/format'
import { useCan } from '@/lib/session'
import { Button } from '@/ui/button'
import { Fact, Facts } from '@/ui/list'
import { Confirm, type Question } from '@/ui/overlay'
import { Empty, Panel, Problem, Skeleton } from '@/ui/panel'
import { Ago } from '@/ui/time'

/** Workspace is what of it is saved, and the saves that one can go back to. */
export function Workspace({ c }: { c: Container }) {
  const { change } = useCan()
  const list = useQuery(generationsQuery(c.id))
  const [question, setQuestion] = useState<Question>()
  const latest = c.lastSave?.generation
  const { refetch } = list
  const stopped = c.status === 'stopped' || c.status === 'failed'
  useEffect(() => {
    void refetch()
  }, [latest, refetch])
  const ask = (g: Generation): Question => ({
    title: `Go back to save ${g.generation}?`,
    action: 'Start from it',
    body: (
      <>
        <p>
          The container starts with the workspace of {dateTime(g.at)}. What was saved later stays among the saves.
        </p>
      </>
    ),
    run: () => actions.restore(c.id, g.generation),
  })
  return (
    <div className="space-y-4">
      <Panel
        title="Last save"
        aside={
          change &&
          c.status === 'running' && (
            <Button size="sm" onClick={() => void actions.save(c.id)}>
              <Save aria-hidden className="size-3.5" /> Save now
            </Button>
          )
        }
      >
        {c.lastSave?.generation ? (
          <Facts>
            <Fact name="When">
              <Ago at={c.lastSave.at} />
            </Fact>
            <Fact name="Save">{c.lastSave.generation}</Fact>
            <Fact name="Files">
              {c.lastSave.files.toLocaleString('en')}
              {c.lastSave.leftOut ? <span className="text-warn"> ({c.lastSave.leftOut} on the volume only)</span> : null}
            </Fact>
            <Fact name="Size">{bytes(c.lastSave.bytes)}</Fact>
            <Fact name="Took">{span(c.lastSave.seconds)}</Fact>
            <Fact name="Verified">{c.lastSave.verified ? 'yes, every object was seen in the bucket' : 'no'}</Fact>
          </Facts>
        ) : (
          <p className="text-muted">Nothing was saved yet.</p>
        )}
      </Panel>
      <Panel title="Saves that are kept" flush>
        {list.isPending ? (
          <div className="p-3">
            <Skeleton lines={3} />
          </div>
        ) : list.error ? (
          <Problem error={list.error} retry={() => void list.refetch()} className="m-3" />
        ) : list.data.length === 0 ? (
          <Empty icon={HistoryIcon} title="There is no save yet" />
        ) : (
          <ul className="divide-y divide-line">
            {change && !stopped && <li className="px-3 py-2 text-muted">To go back to one of them, stop the container first.</li>}
            {list.data.map((g) => (
              <li key={g.generation} className="flex min-h-10 items-center gap-3 px-3">
                <span className="num w-10 font-medium">{g.generation}</span>
                <span title={dateTime(g.at)} className="text-muted">
                  <Ago at={g.at} />
                </span>
                <span className="num text-muted">
                  {count(g.files, 'file')}, {bytes(g.bytes)}
                </span>
                {g.generation === latest && <span className="text-xs text-muted">the present one</span>}
                {change && g.generation !== latest && stopped && (
                  <Button size="sm" className="ml-auto" onClick={() => setQuestion(ask(g))}>
                    Go back to it
                  </Button>
                )}
              </li>
            ))}
          </ul>
        )}
      </Panel>
      <Confirm question={question} onClose={() => setQuestion(undefined)} />
    </div>
  )
}
