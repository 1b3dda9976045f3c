import type { CreateRequest } from '@/api/types'
import { fault, limit } from '@/lib/limits'

/** Form is what is typed to create a container; all of it text, as typed. */
export interface Form {
  template: string
  image: string
  s3Bucket: string
  s3Prefix: string
  s3Region: string
  awsAccessKeyId: string
  awsSecretAccessKey: string
  cpuLimit: string
  memoryLimit: string
  idleMinutes: string
  vncPassword: string
  labels: string
  placement: string
  webhook: string
}

export const emptyForm: Form = {
  template: '',
  image: '',
  s3Bucket: '',
  s3Prefix: '',
  s3Region: '',
  awsAccessKeyId: '',
  awsSecretAccessKey: '',
  cpuLimit: '',
  memoryLimit: '',
  idleMinutes: '',
  vncPassword: '',
  labels: '',
  placement: '',
  webhook: '',
}

const texts = ['template', 'image', 's3Bucket', 's3Prefix', 's3Region', 'awsAccessKeyId', 'awsSecretAccessKey', 'vncPassword'] as const

/** faults is what is wrong with each field, by the limits of the OpenAPI document. */
export function faults(f: Form): Partial<Record<keyof Form, string>> {
  const out: Partial<Record<keyof Form, string>> = {}
  const note = (key: keyof Form, text: string | undefined) => {
    if (text) out[key] = text
  }
  for (const key of texts) note(key, fault(limit('CreateContainerRequest', key), f[key]))
  note('cpuLimit', fault(limit('ResourceRequest', 'cpuLimit'), f.cpuLimit, 'number'))
  note('memoryLimit', fault(limit('ResourceRequest', 'memoryLimit'), f.memoryLimit))
  if (f.memoryLimit && !/^\d+(\.\d+)?\s?[kmgKMG]?$/.test(f.memoryLimit)) note('memoryLimit', 'A number, with k, m or g.')
  const idle = limit('CreateContainerRequest', 'idleTimeout')
  note('idleMinutes', fault({ minimum: 0, maximum: (idle.maximum ?? Infinity) / 60 }, f.idleMinutes, 'number'))
  note('webhook', fault({ ...limit('WebhookRequest', 'url'), required: false }, f.webhook))
  if (f.webhook && !/^https?:\/\/./.test(f.webhook)) note('webhook', 'It begins with https:// or http://.')
  if (Boolean(f.awsAccessKeyId) !== Boolean(f.awsSecretAccessKey)) note(f.awsAccessKeyId ? 'awsSecretAccessKey' : 'awsAccessKeyId', 'Both or none.')
  if (lines(f.labels).some((l) => !/^[^=]+=/.test(l))) note('labels', 'Each line is name=value.')
  return out
}

const lines = (text: string): string[] =>
  text
    .split('\n')
    .map((l) => l.trim())
    .filter((l) => l !== '')

/** requestOf is the body that a form asks for: what is empty is left to the server. */
export function requestOf(f: Form): CreateRequest {
  const body: CreateRequest = { s3Bucket: f.s3Bucket.trim() }
  for (const key of texts) if (key !== 's3Bucket' && f[key].trim() !== '') body[key] = f[key].trim()
  if (f.cpuLimit || f.memoryLimit)
    body.resources = { ...(f.cpuLimit && { cpuLimit: Number(f.cpuLimit) }), ...(f.memoryLimit && { memoryLimit: f.memoryLimit.replaceAll(/\s/g, '').toLowerCase() }) }
  if (f.idleMinutes !== '') body.idleTimeout = Math.round(Number(f.idleMinutes) * 60)
  if (f.webhook) body.webhook = { url: f.webhook }
  const labels = lines(f.labels)
  if (labels.length > 0) body.labels = Object.fromEntries(labels.map((l) => [l.slice(0, l.indexOf('=')).trim(), l.slice(l.indexOf('=') + 1).trim()]))
  const placement = lines(f.placement)
  if (placement.length > 0) body.placement = { constraints: placement }
  return body
}

/** placesOf maps what the server says of places in the body to the form's fields. */
export function placesOf(details: unknown): Partial<Record<keyof Form, string>> {
  if (!Array.isArray(details)) return {}
  const names: Record<string, keyof Form> = {
    'body.resources.cpuLimit': 'cpuLimit',
    'body.resources.memoryLimit': 'memoryLimit',
    'body.idleTimeout': 'idleMinutes',
    'body.webhook.url': 'webhook',
  }
  const out: Partial<Record<keyof Form, string>> = {}
  for (const d of details as { location?: string; message?: string }[]) {
    const key = names[d.location ?? ''] ?? (d.location ?? '').replace(/^body\./, '').split(/[.[]/)[0]
    if (key && key in emptyForm && d.message) out[key as keyof Form] = d.message
  }
  return out
}
