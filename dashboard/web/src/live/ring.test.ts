import { describe, expect, it } from 'vitest'
import { Ring } from './ring'

describe('Ring', () => {
  it('keeps the newest, in their order', () => {
    const r = new Ring<number>(3)
    r.push([1, 2])
    r.push([3, 4])
    expect([...r]).toEqual([2, 3, 4])
    expect([r.at(0), r.at(2), r.at(3), r.at(-1)]).toEqual([2, 4, undefined, undefined])
  })

  it('numbers items from the first that ever came', () => {
    const r = new Ring<string>(2)
    r.push(['a', 'b', 'c'])
    expect([r.first, r.next, r.length]).toEqual([1, 3, 2])
  })

  it('takes a batch that is larger than itself', () => {
    const r = new Ring<number>(4)
    r.push([0])
    r.push(Array.from({ length: 1_003 }, (_, i) => i + 1))
    expect([...r]).toEqual([1_000, 1_001, 1_002, 1_003])
    expect(r.first).toBe(1_000)
  })

  it('holds nothing after it was cleared', () => {
    const r = new Ring<number>(4)
    r.push([1, 2, 3])
    r.clear()
    expect([...r]).toEqual([])
    expect(r.at(0)).toBeUndefined()
  })

  it('refuses to hold nothing at all', () => {
    expect(() => new Ring(0)).toThrow(RangeError)
  })
})
