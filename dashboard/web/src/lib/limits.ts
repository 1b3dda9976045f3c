import { limits } from '@/api/limits'

/** Limit is what the OpenAPI document says of one field of a body. */
export interface Limit {
  required?: boolean
  description?: string
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  pattern?: string
  enum?: readonly string[]
  items?: readonly string[]
  maxItems?: number
  example?: unknown
}

export type Schemas = keyof typeof limits

/** limit finds what holds for a field; a field that the document does not have has no limits. */
export function limit(schema: Schemas, field: string): Limit {
  return ((limits[schema] as Record<string, Limit>)[field] ?? {}) as Limit
}

/** fault says what is wrong with what was typed, before the server is asked; undefined is nothing. */
export function fault(l: Limit, text: string, kind: 'text' | 'number' = 'text'): string | undefined {
  if (text === '') return l.required ? 'This is needed.' : undefined
  if (kind === 'number') {
    const n = Number(text)
    if (!Number.isFinite(n)) return 'This is no number.'
    if (l.minimum !== undefined && n < l.minimum) return `At least ${l.minimum}.`
    if (l.maximum !== undefined && n > l.maximum) return `At most ${l.maximum}.`
    return undefined
  }
  const length = [...text].length
  if (l.minLength !== undefined && length < l.minLength) return `At least ${l.minLength} characters.`
  if (l.maxLength !== undefined && length > l.maxLength) return `At most ${l.maxLength} characters.`
  if (l.enum && !l.enum.includes(text)) return `One of ${l.enum.join(', ')}.`
  if (l.pattern && !new RegExp(l.pattern, 'u').test(text)) return 'There are characters in it that are not allowed.'
  return undefined
}

/** hint is the field's description as a sentence. */
export function hint(l: Limit): string | undefined {
  return l.description ? `${l.description.charAt(0).toUpperCase()}${l.description.slice(1)}.` : undefined
}
