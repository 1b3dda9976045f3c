import { useQuery } from '@tanstack/react-query'
import { ChevronRight, CircleCheck, CircleX } from 'lucide-react'
import { useEffect, useId, useState } from 'react'
import { ApiError, api, asApiError, call } from '@/api/client'
import { templatesQuery } from '@/api/queries'
import type { Check, CreateRequest } from '@/api/types'
import { bytes, cores, count } from '@/lib/format'
import { hint, limit } from '@/lib/limits'
import { follow } from '@/lib/toasts'
import { Button } from '@/ui/button'
import { Field, Input, Select, TextArea } from '@/ui/field'
import { Modal } from '@/ui/overlay'
import { Problem } from '@/ui/panel'
import { Spinner } from '@/ui/spinner'
import { type Form, emptyForm, faults, placesOf, requestOf } from './form'

interface CreateProps {
  open: boolean
  onClose: () => void
  onCreated: (id: string) => void
}

/** Create asks for a container, and shows while one types whether it would fit. */
export default function Create({ open, onClose, onCreated }: CreateProps) {
  const [busy, setBusy] = useState(false)
  const form = useId()
  return (
    <Modal
      open={open}
      onClose={onClose}
      title="Create a container"
      wide
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" form={form} look="primary" busy={busy}>
            Create
          </Button>
        </>
      }
    >
      <Body id={form} onBusy={setBusy} onCreated={onCreated} />
    </Modal>
  )
}

function Body({ id, onBusy, onCreated }: { id: string; onBusy: (b: boolean) => void; onCreated: (id: string) => void }) {
  const [form, setForm] = useState<Form>(emptyForm)
  const [touched, setTouched] = useState<ReadonlySet<string>>(new Set())
  const [error, setError] = useState<ApiError>()
  const [key] = useState(() => crypto.randomUUID?.() ?? String(Math.random()).slice(2))
  const templates = useQuery(templatesQuery)
  const wrong = faults(form)
  const placed = placesOf(error?.details)
  const template = templates.data?.find((t) => t.name === (form.template || 'default'))

  const set = (name: keyof Form) => (e: { target: { value: string } }) => {
    setForm((f) => ({ ...f, [name]: e.target.value }))
    setError(undefined)
  }
  const field = (name: keyof Form, schema: 'CreateContainerRequest' | 'ResourceRequest' | 'WebhookRequest' = 'CreateContainerRequest', its: string = name) => {
    const l = limit(schema, its)
    return {
      field: { error: placed[name] ?? (touched.has(name) ? wrong[name] : undefined), hint: hint(l), required: name === 's3Bucket' },
      input: { value: form[name], onChange: set(name), onBlur: () => setTouched((t) => new Set(t).add(name)), ...(l.maxLength ? { maxLength: l.maxLength } : {}), autoComplete: 'off', spellCheck: false },
    }
  }
  const submit = async () => {
    setTouched(new Set(Object.keys(form)))
    const first = Object.keys(wrong)[0]
    if (first) {
      document.querySelector<HTMLElement>(`#${CSS.escape(id)} [name="${first}"]`)?.focus()
      return
    }
    onBusy(true)
    try {
      const answer = await call(api.POST('/api/containers/start', { body: requestOf(form), params: { header: { 'Idempotency-Key': key } } }))
      if ('job' in answer && typeof answer.job === 'object') follow(`Create ${answer.id}`, answer.job)
      onCreated(answer.id)
    } catch (caught) {
      setError(asApiError(caught))
    } finally {
      onBusy(false)
    }
  }
  const bucket = field('s3Bucket')
  const prefix = field('s3Prefix')
  const cpu = field('cpuLimit', 'ResourceRequest')
  const memory = field('memoryLimit', 'ResourceRequest')
  const idle = field('idleMinutes', 'CreateContainerRequest', 'idleTimeout')
  const image = field('image')
  const region = field('s3Region')
  const access = field('awsAccessKeyId')
  const secret = field('awsSecretAccessKey')
  const vnc = field('vncPassword')
  const webhook = field('webhook', 'WebhookRequest', 'url')
  return (
    <form
      id={id}
      noValidate
      onSubmit={(e) => {
        e.preventDefault()
        void submit()
      }}
      className="space-y-4"
    >
      <div className="grid grid-cols-2 gap-3 max-sm:grid-cols-1">
        <Field label="Template" hint={template?.imageFound === 'absent' ? `No node has its image ${template.image}.` : template?.description} error={placed.template}>
          <Select name="template" value={form.template} onChange={set('template')}>
            <option value="">default</option>
            {templates.data
              ?.filter((t) => t.name !== 'default')
              .map((t) => (
                <option key={t.name}>{t.name}</option>
              ))}
          </Select>
        </Field>
        <Field label="Stop when not used for" {...idle.field} hint="Minutes; 0 is never; empty is the server's default.">
          <Input name="idleMinutes" inputMode="numeric" placeholder="server's default" {...idle.input} />
        </Field>
        <Field label="Bucket" {...bucket.field}>
          <Input name="s3Bucket" placeholder="alice-workspace" {...bucket.input} className="w-full font-mono" />
        </Field>
        <Field label="Folder" {...prefix.field}>
          <Input name="s3Prefix" placeholder="course-1/alice" {...prefix.input} className="w-full font-mono" />
        </Field>
        <Field label="CPU limit" {...cpu.field} hint="Cores.">
          <Input name="cpuLimit" inputMode="decimal" placeholder="as the template" {...cpu.input} />
        </Field>
        <Field label="Memory limit" {...memory.field}>
          <Input name="memoryLimit" placeholder="as the template" {...memory.input} />
        </Field>
      </div>
      <details className="group rounded-md border border-line">
        <summary className="flex h-9 cursor-pointer list-none items-center gap-1.5 px-2.5 text-sm font-medium">
          <ChevronRight aria-hidden className="size-4 transition-transform group-open:rotate-90" /> More
        </summary>
        <div className="grid grid-cols-2 gap-3 border-t border-line p-3 max-sm:grid-cols-1">
          <Field label="Image" {...image.field}>
            <Input name="image" {...image.input} className="w-full font-mono" />
          </Field>
          <Field label="Region of the bucket" {...region.field}>
            <Input name="s3Region" {...region.input} />
          </Field>
          <Field label="Access key ID" {...access.field}>
            <Input name="awsAccessKeyId" {...access.input} className="w-full font-mono" />
          </Field>
          <Field label="Secret access key" {...secret.field}>
            <Input name="awsSecretAccessKey" type="password" {...secret.input} autoComplete="new-password" className="w-full font-mono" />
          </Field>
          <Field label="Desktop password" {...vnc.field}>
            <Input name="vncPassword" type="password" {...vnc.input} autoComplete="new-password" />
          </Field>
          <Field label="Webhook" {...webhook.field}>
            <Input name="webhook" type="url" placeholder="https://hooks.example.org/berth" {...webhook.input} />
          </Field>
          <Field label="Labels" hint="One a line, name=value." error={placed.labels ?? (touched.has('labels') ? wrong.labels : undefined)}>
            <TextArea name="labels" value={form.labels} onChange={set('labels')} onBlur={() => setTouched((t) => new Set(t).add('labels'))} className="font-mono" rows={2} />
          </Field>
          <Field label="Placement" hint="One a line, as node.labels.gpu==true." error={placed.placement}>
            <TextArea name="placement" value={form.placement} onChange={set('placement')} className="font-mono" rows={2} />
          </Field>
        </div>
      </details>
      {error && <Problem what="It was not created." error={error} />}
      <Fits form={form} ready={Object.keys(wrong).length === 0} />
    </form>
  )
}

// Fits asks the server whether a start would be admitted, when the typing rests.
function Fits({ form, ready }: { form: Form; ready: boolean }) {
  const body = JSON.stringify(requestOf(form))
  const [settled, setSettled] = useState('')
  useEffect(() => {
    const timer = setTimeout(() => setSettled(ready ? body : ''), 300)
    return () => clearTimeout(timer)
  }, [body, ready])
  const check = useQuery({
    queryKey: ['check', settled],
    enabled: settled !== '',
    staleTime: 5_000,
    gcTime: 0,
    retry: false,
    queryFn: ({ signal }) => call<Check>(api.POST('/api/containers/check', { body: JSON.parse(settled) as CreateRequest, signal })),
  })
  const fitting = check.data?.nodes.filter((n) => n.fits).length ?? 0
  return (
    <div aria-live="polite" className="rounded-md border border-line bg-sunken px-3 py-2.5">
      {!ready || settled === '' ? (
        <p className="text-muted">Whether it fits is shown here, once the bucket is named.</p>
      ) : check.error ? (
        <Problem error={check.error} retry={() => void check.refetch()} bare />
      ) : !check.data ? (
        <p className="flex items-center gap-2 text-muted">
          <Spinner className="size-3.5" /> Asks whether it fits
        </p>
      ) : (
        <>
          <p className="flex items-start gap-2 font-medium">
            {check.data.fits ? <CircleCheck aria-hidden className="mt-0.5 size-4 shrink-0 text-ok" /> : <CircleX aria-hidden className="mt-0.5 size-4 shrink-0 text-bad" />}
            <span className="min-w-0 break-words">
              {check.data.fits ? (check.data.nodes.length > 0 ? `Fits on ${count(fitting, 'node')}` : 'Fits') : (check.data.why ?? 'It does not fit.')}
              <span className="ml-2 font-normal text-muted">
                {check.data.image}
                {check.data.limit !== undefined && `, ${check.data.live} of ${check.data.limit} containers of this key`}
              </span>
            </span>
          </p>
          <ul className="mt-1.5 max-h-28 space-y-0.5 overflow-y-auto pl-6 text-xs text-muted">
            {check.data.nodes.map((n) => (
              <li key={n.id} className="flex gap-2">
                <span className={n.fits ? 'text-ok' : 'text-bad'}>{n.fits ? 'fits' : 'no'}</span>
                <span className="font-medium text-fg">{n.hostname}</span>
                <span className="min-w-0 flex-1 truncate">{n.why ?? `${cores(n.freeCpu)} cores and ${bytes(n.freeMemory)} free`}</span>
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  )
}
