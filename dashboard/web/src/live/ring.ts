/** Ring keeps the newest items of an endless stream, in constant memory. An item's number counts from the first that ever
 * came, so it stays the same while older ones fall out. */
export class Ring<T> {
  readonly #slots: (T | undefined)[]
  #next = 0
  #kept = 0

  constructor(readonly capacity: number) {
    if (capacity < 1) throw new RangeError('a ring holds at least one item')
    this.#slots = Array.from<T | undefined>({ length: capacity })
  }

  get length(): number {
    return this.#kept
  }

  /** first is the number of the oldest item that is kept. */
  get first(): number {
    return this.#next - this.#kept
  }

  /** next is the number that the next item will get. */
  get next(): number {
    return this.#next
  }

  push(items: readonly T[]): void {
    // Of a batch that is larger than the ring only its end stays.
    const skip = Math.max(0, items.length - this.capacity)
    this.#next += skip
    for (let i = skip; i < items.length; i++) {
      this.#slots[this.#next % this.capacity] = items[i]
      this.#next++
    }
    this.#kept = Math.min(this.capacity, this.#kept + items.length)
  }

  /** at is the item at an index, 0 being the oldest that is kept. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.#kept) return undefined
    return this.#slots[(this.first + index) % this.capacity]
  }

  clear(): void {
    this.#slots.fill(undefined)
    this.#next = 0
    this.#kept = 0
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.#kept; i++) yield this.at(i) as T
  }
}
