import { describe, expect, it } from 'vitest'
import { type Connection, type Signal, next, retryIn, unconnected } from './connection'

const run = (...signals: Signal[]): Connection => signals.reduce(next, unconnected)

describe('the connection', () => {
  it('is live when the server is heard', () => {
    expect(run({ type: 'heard', at: 1_000 })).toMatchObject({ status: 'live', heard: 1_000, attempt: 0 })
  })

  it('reconnects at once when it is lost, and is stale after 10 s', () => {
    const heard: Signal = { type: 'heard', at: 1_000 }
    expect(run(heard, { type: 'lost', at: 2_000 }).status).toBe('reconnecting')
    expect(run(heard, { type: 'lost', at: 2_000 }, { type: 'tick', at: 10_999 }).status).toBe('reconnecting')
    expect(run(heard, { type: 'lost', at: 2_000 }, { type: 'tick', at: 11_000 })).toMatchObject({ status: 'stale', heard: 1_000 })
  })

  it('notices within 10 s that beats no longer come', () => {
    const heard: Signal = { type: 'heard', at: 1_000 }
    expect(run(heard, { type: 'tick', at: 6_500 }).status).toBe('live')
    expect(run(heard, { type: 'tick', at: 9_000 }).status).toBe('reconnecting')
    expect(run(heard, { type: 'tick', at: 11_000 }).status).toBe('stale')
  })

  it('heals by itself', () => {
    expect(run({ type: 'heard', at: 1 }, { type: 'lost', at: 2 }, { type: 'tick', at: 60_000 }, { type: 'heard', at: 61_000 })).toEqual({ status: 'live', heard: 61_000, attempt: 0 })
  })

  it('is no reconnection before it ever was connected', () => {
    expect(run({ type: 'tick', at: 60_000 }).status).toBe('connecting')
    expect(run({ type: 'lost', at: 60_000 }).status).toBe('reconnecting')
  })
})

describe('retryIn', () => {
  it('waits longer from try to try, up to a bound', () => {
    expect([1, 2, 3, 4, 50].map((n) => retryIn(n, 0))).toEqual([500, 1_000, 2_000, 5_000, 5_000])
  })

  it('spreads tabs by a quarter', () => {
    expect(retryIn(1, 1)).toBe(625)
  })
})
