import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { KeyRound, Plus, Trash2 } from 'lucide-react'
import { useId, useState } from 'react'
import { api, call } from '@/api/client'
import { keysQuery } from '@/api/queries'
import type { Key, NewKey } from '@/api/types'
import { fault, hint, limit } from '@/lib/limits'
import { useCan, useSession } from '@/lib/session'
import { attempt } from '@/lib/toasts'
import { Button, IconButton } from '@/ui/button'
import { Copy } from '@/ui/copy'
import { Field, Input, Select, TextArea } from '@/ui/field'
import { Confirm, Modal, type Question } from '@/ui/overlay'
import { Empty, Panel, Problem, Skeleton } from '@/ui/panel'
import { Pill } from '@/ui/status'
import { Ago } from '@/ui/time'

/** Keys are who may call. A new one is shown once. */
export function Keys() {
  const { admin } = useCan()
  const me = useSession()
  const queries = useQueryClient()
  const list = useQuery(keysQuery)
  const [adding, setAdding] = useState(false)
  const [made, setMade] = useState<NewKey>()
  const [question, setQuestion] = useState<Question>()
  const revoke = (k: Key): Question => ({
    title: `Revoke ${k.name}?`,
    action: 'Revoke',
    body: (
      <>
        <p>Whoever uses it is refused from now on; what it has open ends.</p>
        <p className="text-muted">Its containers stay, and an admin still sees them.</p>
        {k.name === me.name && (
          <p>
            <strong>It is the key that you are logged in with: you will be logged out.</strong>
          </p>
        )}
      </>
    ),
    run: async () => {
      await attempt(`Revoke ${k.name}`, () => call(api.DELETE('/api/keys/{id}', { params: { path: { id: k.name } } })) as Promise<undefined>, `${k.name} is revoked`)
      void queries.invalidateQueries({ queryKey: ['keys'] })
    },
  })
  return (
    <Panel
      title="API keys"
      flush
      aside={
        admin && (
          <Button size="sm" look="primary" onClick={() => setAdding(true)}>
            <Plus aria-hidden className="size-3.5" /> New key
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
        <Empty icon={KeyRound} title="There is no key" />
      ) : (
        <ul className="divide-y divide-line">
          {list.data.map((k) => (
            <li key={k.name} className="flex min-h-12 items-center gap-3 px-3 py-1.5">
              <div className="min-w-0 flex-1">
                <p className="flex items-center gap-2">
                  <span className="truncate font-medium">{k.name}</span>
                  <Pill tone={k.role === 'admin' ? 'busy' : 'idle'}>{k.role}</Pill>
                  {k.name === me.name && <Pill tone="ok">this one</Pill>}
                </p>
                <p className="truncate text-xs text-muted">
                  {k.source === 'environment' ? 'Set by the operator in the environment' : <>Made <Ago at={k.createdAt} />{k.createdBy && ` by ${k.createdBy}`}</>}
                  {k.lastUsed && <>, used <Ago at={k.lastUsed} /></>}
                  {k.maxContainers !== undefined && `, ${k.maxContainers} containers`}
                  {k.rateLimit !== undefined && `, ${k.rateLimit} requests a minute`}
                  {k.buckets && `, buckets ${k.buckets.join(' ')}`}
                </p>
              </div>
              {admin && k.source === 'api' && (
                <IconButton label={`Revoke ${k.name}`} onClick={() => setQuestion(revoke(k))}>
                  <Trash2 className="size-4" />
                </IconButton>
              )}
            </li>
          ))}
        </ul>
      )}
      <Modal open={adding} onClose={() => setAdding(false)} title="New API key">
        <NewKeyForm
          onMade={(k) => {
            setAdding(false)
            setMade(k)
            void queries.invalidateQueries({ queryKey: ['keys'] })
          }}
        />
      </Modal>
      <Modal open={made !== undefined} onClose={() => setMade(undefined)} title={`The key ${made?.name ?? ''}`} footer={<Button look="primary" onClick={() => setMade(undefined)}>I have kept it</Button>}>
        <p className="mb-3">It is shown this once. Only its digest is kept.</p>
        {made && <Shown value={made.key} />}
      </Modal>
      <Confirm question={question} onClose={() => setQuestion(undefined)} />
    </Panel>
  )
}

/** Shown is a secret that is shown once. */
export function Shown({ value }: { value: string }) {
  return (
    <div className="flex items-center gap-2 rounded-md border border-line bg-sunken p-2">
      <code className="min-w-0 flex-1 font-mono break-all">{value}</code>
      <Copy text={value} label="Copy it" />
    </div>
  )
}

const schema = 'NewKeyRequest'

function NewKeyForm({ onMade }: { onMade: (k: NewKey) => void }) {
  const id = useId()
  const [form, setForm] = useState({ name: '', role: 'client', maxContainers: '', rateLimit: '', buckets: '' })
  const [tried, setTried] = useState(false)
  const set = (key: keyof typeof form) => (e: { target: { value: string } }) => setForm((f) => ({ ...f, [key]: e.target.value }))
  const wrong = {
    name: fault({ ...limit(schema, 'name'), required: true }, form.name),
    maxContainers: fault(limit(schema, 'maxContainers'), form.maxContainers, 'number'),
    rateLimit: fault(limit(schema, 'rateLimit'), form.rateLimit, 'number'),
  }
  const create = useMutation({
    mutationFn: () => {
      const buckets = form.buckets.split(/\s+/).filter(Boolean)
      return call(
        api.POST('/api/keys', {
          body: {
            name: form.name,
            role: form.role as 'client',
            ...(form.maxContainers && { maxContainers: Number(form.maxContainers) }),
            ...(form.rateLimit && { rateLimit: Number(form.rateLimit) }),
            ...(buckets.length > 0 && { buckets }),
          },
        }),
      )
    },
    onSuccess: (k) => onMade(k as NewKey),
  })
  const shown = (key: keyof typeof wrong) => (tried ? wrong[key] : undefined)
  return (
    <form
      id={id}
      noValidate
      className="space-y-3"
      onSubmit={(e) => {
        e.preventDefault()
        setTried(true)
        if (!Object.values(wrong).some(Boolean)) create.mutate()
      }}
    >
      <Field label="Name" required error={shown('name')} hint={hint(limit(schema, 'name'))}>
        <Input name="name" value={form.name} onChange={set('name')} autoComplete="off" spellCheck={false} maxLength={limit(schema, 'name').maxLength ?? 63} />
      </Field>
      <Field label="Role" required hint={hint(limit(schema, 'role'))}>
        <Select name="role" value={form.role} onChange={set('role')}>
          {(limit(schema, 'role').enum ?? ['admin', 'client', 'viewer']).map((r) => (
            <option key={r}>{r}</option>
          ))}
        </Select>
      </Field>
      <div className="grid grid-cols-2 gap-3">
        <Field label="Containers" error={shown('maxContainers')} hint={hint(limit(schema, 'maxContainers'))}>
          <Input name="maxContainers" inputMode="numeric" value={form.maxContainers} onChange={set('maxContainers')} />
        </Field>
        <Field label="Requests a minute" error={shown('rateLimit')} hint={hint(limit(schema, 'rateLimit'))}>
          <Input name="rateLimit" inputMode="numeric" value={form.rateLimit} onChange={set('rateLimit')} />
        </Field>
      </div>
      <Field label="Buckets" hint={hint(limit(schema, 'buckets'))}>
        <TextArea name="buckets" value={form.buckets} onChange={set('buckets')} rows={2} placeholder="course-1-*" className="font-mono" />
      </Field>
      {create.error && <Problem error={create.error} />}
      <div className="flex justify-end">
        <Button type="submit" look="primary" busy={create.isPending}>
          Make the key
        </Button>
      </div>
    </form>
  )
}
