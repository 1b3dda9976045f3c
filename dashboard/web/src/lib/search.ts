/** What the pages keep in the URL. Whatever is not valid is left out, so that an old or wrong link still opens. */
type Raw = Record<string, unknown>

const text = (v: unknown, max = 200): string | undefined => {
  const s = typeof v === 'number' ? String(v) : v
  return typeof s === 'string' && s !== '' ? s.slice(0, max) : undefined
}

const oneOf = <T extends string>(v: unknown, values: readonly T[]): T | undefined => values.find((x) => x === v)

const like = (v: unknown, form: RegExp): string | undefined => (typeof v === 'string' && form.test(v) ? v : undefined)

const given = <T extends object>(o: T): Partial<T> =>
  Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as Partial<T>

export const containerStatuses = ['starting', 'running', 'stopping', 'stopped', 'failed'] as const
export const jobStatuses = ['queued', 'running', 'retrying', 'succeeded', 'failed', 'canceled'] as const
export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export const containerSorts = ['id', 'status', 'node', 'owner', 'created', 'cpu', 'memory', '-id', '-status', '-node', '-owner', '-created', '-cpu', '-memory'] as const
export const containerTabs = ['overview', 'timeline', 'logs', 'workspace', 'access'] as const
export const settingsTabs = ['keys', 'webhooks', 'schedules', 'templates'] as const

export interface ContainersSearch {
  q?: string
  status?: (typeof containerStatuses)[number]
  owner?: string
  node?: string
  unsaved?: true
  sort?: (typeof containerSorts)[number]
  open?: string
  tab?: (typeof containerTabs)[number]
  create?: true
}

export const containersSearch = (raw: Raw): ContainersSearch =>
  given({
    q: text(raw.q),
    status: oneOf(raw.status, containerStatuses),
    owner: text(raw.owner, 63),
    node: text(raw.node, 255),
    unsaved: raw.unsaved === true ? (true as const) : undefined,
    sort: oneOf(raw.sort, containerSorts),
    open: text(raw.open, 64),
    tab: oneOf(raw.tab, containerTabs),
    create: raw.create === true ? (true as const) : undefined,
  })

export interface NodesSearch {
  open?: string
  add?: true
}

export const nodesSearch = (raw: Raw): NodesSearch =>
  given({ open: text(raw.open, 255), add: raw.add === true ? (true as const) : undefined })

export interface LogsSearch {
  container?: string
  node?: string
  level?: (typeof logLevels)[number]
  q?: string
  line?: string
}

export const logsSearch = (raw: Raw): LogsSearch =>
  given({
    container: text(raw.container, 64),
    node: text(raw.node, 255),
    level: oneOf(raw.level, logLevels),
    q: text(raw.q),
    line: like(raw.line, /^\d{1,20}-\d{1,20}$/),
  })

export interface JobsSearch {
  status?: (typeof jobStatuses)[number]
  function?: string
  open?: string
}

export const jobsSearch = (raw: Raw): JobsSearch =>
  given({ status: oneOf(raw.status, jobStatuses), function: text(raw.function, 64), open: text(raw.open) })

export interface SettingsSearch {
  open?: string
}

export const settingsSearch = (raw: Raw): SettingsSearch => given({ open: text(raw.open, 64) })

export interface LoginSearch {
  next?: string
  reason?: string
}

/** safeNext is where to go after the login: a path of this dashboard, never another origin. */
export function safeNext(next: unknown, origin = location.origin): string | undefined {
  if (typeof next !== 'string' || !next.startsWith('/') || next.startsWith('//') || next.includes('\\')) return undefined
  try {
    const url = new URL(next, origin)
    if (url.origin !== origin || !url.pathname.startsWith('/dashboard')) return undefined
    return url.pathname + url.search
  } catch {
    return undefined
  }
}

export const loginSearch = (raw: Raw): LoginSearch => given({ next: safeNext(raw.next), reason: text(raw.reason) })

