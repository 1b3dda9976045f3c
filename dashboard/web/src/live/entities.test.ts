import { describe, expect, it, vi } from 'vitest'
import { Entities } from './entities'

interface Thing {
  id: string
  n: number
}

// held collects what is to be done in the next frame.
function held() {
  const work: (() => void)[] = []
  const waiting = new Set<() => void>()
  return {
    schedule: (f: () => void) => () => {
      if (!waiting.has(f)) work.push(f)
      waiting.add(f)
    },
    frame: () => {
      waiting.clear()
      for (const f of work.splice(0)) f()
    },
  }
}

describe('Entities', () => {
  it('tells a listener of its own thing only, once a frame, with the newest state', () => {
    const { schedule, frame } = held()
    const e = new Entities<Thing>(schedule)
    const a = vi.fn<() => void>()
    const b = vi.fn<() => void>()
    e.subscribe('a', a)
    e.subscribe('b', b)
    for (let n = 0; n < 2_000; n++) e.set({ id: 'a', n })
    expect(a).not.toHaveBeenCalled()
    frame()
    expect(a).toHaveBeenCalledTimes(1)
    expect(b).not.toHaveBeenCalled()
    expect(e.get('a')?.n).toBe(1_999)
  })

  it('tells watchers what a thing was before the frame and what it is now', () => {
    const { schedule, frame } = held()
    const e = new Entities<Thing>(schedule)
    e.set({ id: 'a', n: 1 })
    frame()
    const seen: unknown[] = []
    e.watch((c) => seen.push([...c.changed]))
    e.set({ id: 'a', n: 2 })
    e.set({ id: 'a', n: 3 })
    e.delete('a')
    e.set({ id: 'b', n: 1 })
    frame()
    expect(seen).toEqual([
      [
        ['a', { before: { id: 'a', n: 1 }, after: undefined }],
        ['b', { before: undefined, after: { id: 'b', n: 1 } }],
      ],
    ])
  })

  it('forgets a listener that has gone', () => {
    const { schedule, frame } = held()
    const e = new Entities<Thing>(schedule)
    const f = vi.fn<() => void>()
    e.subscribe('a', f)()
    e.set({ id: 'a', n: 1 })
    frame()
    expect(f).not.toHaveBeenCalled()
  })

  it('says nothing of the end of what it does not know', () => {
    const { schedule, frame } = held()
    const e = new Entities<Thing>(schedule)
    const f = vi.fn<() => void>()
    e.watch(f)
    e.delete('x')
    frame()
    expect(f).not.toHaveBeenCalled()
  })
})
