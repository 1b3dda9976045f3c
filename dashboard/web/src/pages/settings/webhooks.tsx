import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { Plus, RefreshCw, Trash2, Webhook as WebhookIcon } from 'lucide-react'
import { useState } from 'react'
import { api, call } from '@/api/client'
import { webhooksQuery } from '@/api/queries'
import type { Webhook } from '@/api/types'
import { count, dateTime } from '@/lib/format'
import { fault, hint, limit } from '@/lib/limits'
import { useCan } from '@/lib/session'
import { attempt } from '@/lib/toasts'
import { Button, IconButton } from '@/ui/button'
import { Checkbox, Field, Input } from '@/ui/field'
import { Confirm, Modal, type Question } from '@/ui/overlay'
import { Empty, Panel, Problem, Skeleton } from '@/ui/panel'
import { Pill, Status } from '@/ui/status'
import { Ago } from '@/ui/time'
import { DeliveriesDrawer } from './deliveries'
import { Shown } from './keys'

/** Webhooks are endpoints that are told what happens. */
export function Webhooks() {
  const { change } = useCan()
  const queries = useQueryClient()
  const { open } = useSearch({ from: '/shell/settings/$tab' })
  const navigate = useNavigate({ from: '/settings/$tab' })
  const show = (id: string | undefined) => void navigate({ search: id ? { open: id } : {}, replace: true })
  const list = useQuery(webhooksQuery)
  const [adding, setAdding] = useState(false)
  const [secret, setSecret] = useState<{ url: string; secret: string }>()
  const [question, setQuestion] = useState<Question>()
  const again = () => void queries.invalidateQueries({ queryKey: ['webhooks'] })
  const rotate = (w: Webhook): Question => ({
    title: 'Make a new secret?',
    action: 'Make a new secret',
    body: <p>Both secrets sign for a day, so that the endpoint can be changed in peace.</p>,
    run: async () => {
      await attempt('Make a new secret', async () => {
        const made = await call(api.POST('/api/webhooks/{id}/rotate', { params: { path: { id: w.id } } }))
        setSecret(made)
      })
      again()
    },
  })
  const remove = (w: Webhook): Question => ({
    title: 'Delete this webhook?',
    action: 'Delete',
    body: (
      <>
        <p className="font-mono break-all">{w.url}</p>
        <p>It is told nothing more. {w.waiting > 0 && <strong>{count(w.waiting, 'delivery', 'deliveries')} that wait are lost.</strong>}</p>
      </>
    ),
    run: async () => {
      await attempt('Delete the webhook', () => call(api.DELETE('/api/webhooks/{id}', { params: { path: { id: w.id } } })) as Promise<undefined>, 'The webhook is deleted')
      show(undefined)
      again()
    },
  })
  return (
    <Panel
      title="Webhooks"
      flush
      aside={
        change && (
          <Button size="sm" look="primary" onClick={() => setAdding(true)}>
            <Plus aria-hidden className="size-3.5" /> New webhook
          </Button>
        )
      }
    >
      {list.isPending ? (
        <div className="p-3">
          <Skeleton lines={4} />
        </div>
      ) : list.error ? (
        <Problem error={list.error} retry={() => void list.refetch()} className="m-3" />
      ) : list.data.length === 0 ? (
        <Empty icon={WebhookIcon} title="There is no webhook yet">
          <p>An endpoint of yours is told when a container runs, stops or fails. Each message is signed.</p>
        </Empty>
      ) : (
        <ul className="divide-y divide-line">
          {list.data.map((w) => (
            <li key={w.id} className="flex min-h-12 items-center gap-2 px-3 py-1.5">
              <div className="min-w-0 flex-1">
                <button type="button" onClick={() => show(w.id)} className="block max-w-full truncate text-left font-mono font-medium hover:underline">
                  {w.url}
                </button>
                <p className="flex flex-wrap items-center gap-x-2 text-xs text-muted">
                  <State hook={w} />
                  <span>{w.events.length === 0 ? 'all events' : w.events.join(', ')}</span>
                  {w.containerId && <span>of {w.containerId}</span>}
                  {w.lastDelivered && (
                    <span>
                      delivered <Ago at={w.lastDelivered} />
                    </span>
                  )}
                  {w.dropped ? <span className="text-warn">{count(w.dropped, 'event')} left out</span> : null}
                </p>
              </div>
              {change && (
                <>
                  <IconButton label={`New secret for ${w.url}`} onClick={() => setQuestion(rotate(w))}>
                    <RefreshCw className="size-4" />
                  </IconButton>
                  <IconButton label={`Delete ${w.url}`} onClick={() => setQuestion(remove(w))}>
                    <Trash2 className="size-4" />
                  </IconButton>
                </>
              )}
            </li>
          ))}
        </ul>
      )}
      <Modal open={adding} onClose={() => setAdding(false)} title="New webhook">
        <NewWebhook
          onMade={(w) => {
            setAdding(false)
            setSecret(w)
            again()
          }}
        />
      </Modal>
      <Modal open={secret !== undefined} onClose={() => setSecret(undefined)} title="The secret" footer={<Button look="primary" onClick={() => setSecret(undefined)}>I have kept it</Button>}>
        <p className="mb-3">Deliveries to {secret?.url} are signed with it. It is not shown again.</p>
        {secret && <Shown value={secret.secret} />}
      </Modal>
      <Confirm question={question} onClose={() => setQuestion(undefined)} />
      <DeliveriesDrawer hook={list.data?.find((w) => w.id === open)} open={open !== undefined && list.data !== undefined} onClose={() => show(undefined)} />
    </Panel>
  )
}

function State({ hook: w }: { hook: Webhook }) {
  if (w.disabledAt) return <Pill tone="bad" title={w.disabledReason ?? ''}>disabled {w.disabledReason && `: ${w.disabledReason}`}</Pill>
  if (w.failures) return <Pill tone="warn" title={w.failingSince ? `Since ${dateTime(w.failingSince)}` : ''}>{count(w.failures, 'failure')} in a row</Pill>
  if (w.waiting > 0) return <Status state="waiting" label={`${w.waiting} waiting`} />
  return <Status state="ok" label="well" />
}

function NewWebhook({ onMade }: { onMade: (w: { url: string; secret: string }) => void }) {
  const [url, setUrl] = useState('')
  const [events, setEvents] = useState<ReadonlySet<string>>(new Set())
  const [tried, setTried] = useState(false)
  const { admin } = useCan()
  const wrong = fault({ ...limit('WebhookRequest', 'url'), required: true }, url) ?? (/^https?:\/\/./.test(url) ? undefined : 'It begins with https:// or http://.')
  const types = (limit('WebhookRequest', 'events').items ?? []).filter((t) => admin || !t.startsWith('node.'))
  const create = useMutation({
    mutationFn: () => call(api.POST('/api/webhooks', { body: { url, ...(events.size > 0 && { events: [...events] as never }) } })),
    onSuccess: (w) => onMade(w),
  })
  return (
    <form
      noValidate
      className="space-y-3"
      onSubmit={(e) => {
        e.preventDefault()
        setTried(true)
        if (!wrong) create.mutate()
      }}
    >
      <Field label="URL" required error={tried ? wrong : undefined} hint={hint(limit('WebhookRequest', 'url'))}>
        <Input name="url" type="url" value={url} onChange={(e) => setUrl(e.target.value)} placeholder="https://hooks.example.org/berth" maxLength={limit('WebhookRequest', 'url').maxLength ?? 2_048} />
      </Field>
      <fieldset>
        <legend className="mb-1 text-xs font-medium">Events</legend>
        <p className="mb-1 text-xs text-muted">None chosen is all.</p>
        <div className="grid grid-cols-2 gap-x-3 max-sm:grid-cols-1">
          {types.map((t) => (
            <Checkbox
              key={t}
              label={<code className="font-mono text-xs">{t}</code>}
              checked={events.has(t)}
              onChange={(e) => {
                const next = new Set(events)
                if (e.target.checked) next.add(t)
                else next.delete(t)
                setEvents(next)
              }}
            />
          ))}
        </div>
      </fieldset>
      {create.error && <Problem error={create.error} />}
      <div className="flex justify-end">
        <Button type="submit" look="primary" busy={create.isPending}>
          Make the webhook
        </Button>
      </div>
    </form>
  )
}
