import { perFrame } from './frame'

interface Entity {
  id: string
}

/** Change is what became of entities since the last notification. */
export interface Change<T> {
  changed: Map<string, { before: T | undefined; after: T | undefined }>
}

/** Entities holds the newest state of many things by their ID, outside React. A component hears of its own one only, once a
 * frame at most, so that 2,000 updates a second cost what the visible rows cost. */
export class Entities<T extends Entity> {
  readonly #items = new Map<string, T>()
  readonly #listeners = new Map<string, Set<() => void>>()
  readonly #watchers = new Set<(c: Change<T>) => void>()
  #changed: Change<T>['changed'] = new Map()
  readonly #notify: () => void

  constructor(schedule: (work: () => void) => () => void = perFrame) {
    this.#notify = schedule(() => this.flush())
  }

  get(id: string): T | undefined {
    return this.#items.get(id)
  }

  get size(): number {
    return this.#items.size
  }

  values(): IterableIterator<T> {
    return this.#items.values()
  }

  set(item: T): void {
    this.#note(item.id, item)
    this.#items.set(item.id, item)
  }

  delete(id: string): void {
    if (!this.#items.has(id)) return
    this.#note(id, undefined)
    this.#items.delete(id)
  }

  #note(id: string, after: T | undefined): void {
    const known = this.#changed.get(id)
    this.#changed.set(id, { before: known ? known.before : this.#items.get(id), after })
    this.#notify()
  }

  /** flush tells everybody of what has changed. */
  flush(): void {
    if (this.#changed.size === 0) return
    const changed = this.#changed
    this.#changed = new Map()
    for (const id of changed.keys()) this.#listeners.get(id)?.forEach((f) => f())
    for (const watch of this.#watchers) watch({ changed })
  }

  /** subscribe hears of one entity; the answer ends it. */
  subscribe(id: string, f: () => void): () => void {
    let set = this.#listeners.get(id)
    if (!set) this.#listeners.set(id, (set = new Set()))
    set.add(f)
    return () => {
      set.delete(f)
      if (set.size === 0 && this.#listeners.get(id) === set) this.#listeners.delete(id)
    }
  }

  /** watch hears of all changes together. */
  watch(f: (c: Change<T>) => void): () => void {
    this.#watchers.add(f)
    return () => this.#watchers.delete(f)
  }
}
