import { perFrame } from './frame'
import { Ring } from './ring'

/** Line is a line that a program, or a part of the control plane, has written. */
export interface Line {
  id: string
  at: string
  nodeId?: string
  containerId?: string
  source: string
  level: 'debug' | 'info' | 'warn' | 'error'
  text: string
}

export const KEPT = 10_000

/** Lines holds the newest lines of a stream, outside React. While it is paused what is shown stays as it is; what comes waits. */
export class Lines {
  readonly shown: Ring<Line>
  readonly #waiting: Ring<Line>
  #arrived = 0 // since the pause; more than the ring keeps may have come
  #last = ''
  #paused = false
  #dropped = 0
  #version = 0
  readonly #listeners = new Set<() => void>()
  readonly #notify: () => void

  constructor(capacity = KEPT, schedule: (work: () => void) => () => void = perFrame) {
    this.shown = new Ring(capacity)
    this.#waiting = new Ring(capacity)
    this.#notify = schedule(() => {
      this.#version++
      this.#listeners.forEach((f) => f())
    })
  }

  get paused(): boolean {
    return this.#paused
  }

  /** waiting is how many lines have come since the pause. */
  get waiting(): number {
    return this.#arrived
  }

  /** dropped is how many lines the server could not send to this reader. */
  get dropped(): number {
    return this.#dropped
  }

  version = (): number => this.#version

  subscribe = (f: () => void): (() => void) => {
    this.#listeners.add(f)
    return () => this.#listeners.delete(f)
  }

  /** add takes lines in. Those it has had, which a stream begins with when it was lost, it leaves out. */
  add(lines: readonly Line[]): void {
    const fresh = this.#last === '' ? lines : lines.filter((l) => later(l.id, this.#last))
    const newest = fresh.at(-1)
    if (!newest) return
    this.#last = newest.id
    if (this.#paused) {
      this.#waiting.push(fresh)
      this.#arrived += fresh.length
    } else this.shown.push(fresh)
    this.#notify()
  }

  drop(count: number): void {
    this.#dropped += count
    this.#notify()
  }

  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#notify()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.shown.push([...this.#waiting])
    this.#waiting.clear()
    this.#arrived = 0
    this.#notify()
  }

  clear(): void {
    this.shown.clear()
    this.#waiting.clear()
    this.#arrived = 0
    this.#dropped = 0
    this.#last = ''
    this.#paused = false
    this.#notify()
  }
}

/** later compares two places in a stream, "<milliseconds>-<number>". */
export function later(a: string, b: string): boolean {
  const [am = 0, an = 0] = a.split('-').map(Number)
  const [bm = 0, bn = 0] = b.split('-').map(Number)
  return am !== bm ? am > bm : an > bn
}
