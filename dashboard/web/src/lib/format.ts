const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** bytes is a size in binary units, with three digits at most. */
export function bytes(n: number | undefined | null): string {
  if (n === undefined || n === null || !Number.isFinite(n)) return '–'
  let i = 0
  let v = n
  while (Math.abs(v) >= 1024 && i < UNITS.length - 1) {
    v /= 1024
    i++
  }
  return `${digits(v)}\u00A0${UNITS[i]}`
}

/** digits is a number with as many decimals as three digits leave room for. */
export function digits(v: number): string {
  const abs = Math.abs(v)
  if (abs >= 100 || Number.isInteger(v)) return Math.round(v).toLocaleString('en')
  return v.toFixed(abs >= 10 ? 1 : 2).replace(/\.?0+$/, '')
}

export const percent = (v: number | undefined | null): string =>
  v === undefined || v === null || !Number.isFinite(v) ? '–' : `${v >= 10 ? Math.round(v) : digits(Math.round(v * 10) / 10)}\u00A0%`

export const cores = (v: number | undefined | null): string => (v === undefined || v === null ? '–' : digits(v))

/** span is a length of time in its one or two largest units. */
export function span(seconds: number): string {
  const s = Math.max(0, seconds)
  if (s < 1) return `${Math.round(s * 1000)} ms`
  if (s < 10) return `${s.toFixed(1).replace(/\.0$/, '')} s`
  if (s < 60) return `${Math.floor(s)} s`
  if (s < 3600) return pair(Math.floor(s / 60), 'min', s < 600 ? Math.floor(s % 60) : 0, 's')
  if (s < 86_400) return pair(Math.floor(s / 3600), 'h', Math.floor((s % 3600) / 60), 'min')
  return pair(Math.floor(s / 86_400), 'd', Math.floor((s % 86_400) / 3600), 'h')
}

const pair = (a: number, unit: string, b: number, small: string) => (b > 0 ? `${a} ${unit} ${b} ${small}` : `${a} ${unit}`)

/** age is how long something is past, in its largest unit. */
export function age(at: string | number | Date, now = Date.now()): string {
  const s = (now - new Date(at).getTime()) / 1000
  if (s < 5) return 'now'
  if (s < 60) return `${Math.floor(s)} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  if (s < 172_800) return `${Math.floor(s / 3600)} h`
  return `${Math.floor(s / 86_400)} d`
}

/** ago is age in a sentence, for the past and the future. */
export function ago(at: string | number | Date, now = Date.now()): string {
  const s = (new Date(at).getTime() - now) / 1000
  if (s > 5) return `in ${span(s < 60 ? Math.round(s) : Math.floor(s / 60) * 60)}`
  const a = age(at, now)
  return a === 'now' ? 'just now' : `${a} ago`
}

const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' })
const short = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })

export const dateTime = (at: string | number | Date): string => full.format(new Date(at))
export const clock = (at: string | number | Date): string => short.format(new Date(at))

const two = (n: number) => String(n).padStart(2, '0')

/** logTime is the time of a log line, to the millisecond, in the reader's zone. */
export function logTime(at: string): string {
  const d = new Date(at)
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}`
}

/** count is a number with its noun. */
export const count = (n: number, one: string, many = `${one}s`): string => `${n.toLocaleString('en')} ${n === 1 ? one : many}`

/** sentence makes a step's or a function's name readable: container-create is "Container create". */
export function sentence(name: string): string {
  const text = name.replaceAll(/[-_.]/g, ' ')
  return text.charAt(0).toUpperCase() + text.slice(1)
}
