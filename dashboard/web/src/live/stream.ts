import { BEAT_MISSED, type Connection, type Signal, next, retryIn, unconnected } from './connection'

/** Events of GET /api/dashboard/stream that carry data for pages. */
export const eventTypes = ['hello', 'beat', 'overview', 'nodes', 'container', 'gone', 'job', 'logs', 'dropped', 'end'] as const
export type EventType = (typeof eventTypes)[number]

const CLOSED = 2 // of EventSource.readyState

type Handler = (data: unknown) => void

/** Stream is the one event stream of this tab. It opens it again when it is lost, when no beat came, and when what it should
 * carry has changed; a hidden tab gives it back after a minute. */
export class Stream {
  #source: EventSource | undefined
  #wanted: string | undefined
  #retry: ReturnType<typeof setTimeout> | undefined
  #ticker: ReturnType<typeof setInterval> | undefined
  #opened = 0
  #greeted = false // a hello after the first comes after a gap
  #state: Connection = unconnected
  readonly #handlers = new Map<EventType, Set<Handler>>()
  readonly #listeners = new Set<() => void>()
  readonly #healed = new Set<() => void>()

  constructor(
    private readonly path: string,
    private readonly open: (url: string) => EventSource = (url) => new EventSource(url),
    private readonly refused: () => void = () => {},
  ) {}

  get state(): Connection {
    return this.#state
  }

  /** want says what the stream shall carry, as its query; undefined closes it. */
  want(query: string | undefined): void {
    if (query === this.#wanted && (this.#source || query === undefined)) return
    this.#wanted = query
    clearTimeout(this.#retry)
    if (query === undefined) {
      if (this.#source) this.#signal({ type: 'lost', at: Date.now() })
      this.#close()
      clearInterval(this.#ticker)
      this.#ticker = undefined
      return
    }
    this.#ticker ??= setInterval(() => this.#tick(), 1_000)
    this.#connect(query)
  }

  on(type: EventType, f: Handler): () => void {
    let set = this.#handlers.get(type)
    if (!set) this.#handlers.set(type, (set = new Set()))
    set.add(f)
    return () => set.delete(f)
  }

  /** onHealed hears when the stream is back after a gap in which events may have been missed. */
  onHealed(f: () => void): () => void {
    this.#healed.add(f)
    return () => this.#healed.delete(f)
  }

  subscribe = (f: () => void): (() => void) => {
    this.#listeners.add(f)
    return () => this.#listeners.delete(f)
  }

  #connect(query: string): void {
    this.#close()
    this.#opened = Date.now()
    const source = this.open(`${this.path}?${query}`)
    this.#source = source
    for (const type of eventTypes)
      source.addEventListener(type, (e) => {
        if (this.#source === source) this.#heard(type, (e as MessageEvent<string>).data)
      })
    source.addEventListener('error', () => {
      if (this.#source !== source) return
      // A browser gives up for good where the answer was no stream: the session may have ended.
      if (source.readyState === CLOSED) this.refused()
      this.#lost()
    })
  }

  #heard(type: EventType, text: string): void {
    const data: unknown = text === '' ? undefined : JSON.parse(text)
    if (type === 'end') {
      this.#lost()
      this.refused()
      return
    }
    this.#signal({ type: 'heard', at: Date.now() })
    this.#emit(type, data)
    if (type !== 'hello') return
    if (this.#greeted) this.#healed.forEach((f) => f())
    this.#greeted = true
  }

  #emit(type: EventType, data: unknown): void {
    this.#handlers.get(type)?.forEach((f) => f(data))
  }

  #lost(): void {
    this.#close()
    this.#signal({ type: 'lost', at: Date.now() })
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => this.#wanted !== undefined && this.#connect(this.#wanted), retryIn(this.#state.attempt))
  }

  #tick(): void {
    const now = Date.now()
    const last = Math.max(this.#state.heard, this.#opened)
    if (this.#source && now - last >= BEAT_MISSED) this.#lost()
    else this.#signal({ type: 'tick', at: now })
  }

  #close(): void {
    this.#source?.close()
    this.#source = undefined
  }

  #signal(s: Signal): void {
    const before = this.#state
    this.#state = next(before, s)
    // Every beat changes when the server was last heard; only a change of status concerns the page.
    if (before.status !== this.#state.status) this.#listeners.forEach((f) => f())
  }
}
