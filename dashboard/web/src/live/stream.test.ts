import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Stream } from './stream'
import { streamQuery } from './topics'

// A Source is an EventSource of which the test is the server.
class Source extends EventTarget {
  static readonly all: Source[] = []
  readyState = 0
  closed = false
  constructor(readonly url: string) {
    super()
    Source.all.push(this)
  }
  close() {
    this.closed = true
  }
  say(type: string, data: unknown) {
    this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data) }))
  }
  fail(forGood = false) {
    this.readyState = forGood ? 2 : 0
    this.dispatchEvent(new Event('error'))
  }
  static get last(): Source {
    return this.all.at(-1) as Source
  }
}

const open = (url: string) => new Source(url) as unknown as EventSource

beforeEach(() => {
  Source.all.length = 0
  vi.useFakeTimers({ now: 1_000_000 })
})
afterEach(() => void vi.useRealTimers())

describe('Stream', () => {
  it('opens one source for all topics, and another only when they change', () => {
    const s = new Stream('/stream', open)
    s.want('topics=jobs')
    s.want('topics=jobs')
    expect(Source.all).toHaveLength(1)
    s.want('topics=jobs,logs')
    expect(Source.all).toHaveLength(2)
    expect(Source.all[0]?.closed).toBe(true)
    expect(Source.last.url).toBe('/stream?topics=jobs,logs')
  })

  it('hands on what it hears by its type', () => {
    const s = new Stream('/stream', open)
    const seen: unknown[] = []
    s.on('container', (c) => seen.push(c))
    s.want('topics=containers')
    Source.last.say('hello', {})
    Source.last.say('container', { id: 'a' })
    expect(seen).toEqual([{ id: 'a' }])
    expect(s.state.status).toBe('live')
  })

  it('opens again by itself when it is lost, and says that something may have been missed', () => {
    const s = new Stream('/stream', open)
    const healed = vi.fn<() => void>()
    s.onHealed(healed)
    s.want('topics=jobs')
    Source.last.say('hello', {})
    expect(healed).not.toHaveBeenCalled()
    Source.last.fail()
    expect(s.state.status).toBe('reconnecting')
    vi.advanceTimersByTime(700)
    expect(Source.all).toHaveLength(2)
    Source.last.say('hello', {})
    expect(s.state.status).toBe('live')
    expect(healed).toHaveBeenCalledTimes(1)
  })

  it('notices a server that has gone silent, shows it within 10 s, and opens again', () => {
    const s = new Stream('/stream', open)
    const told = vi.fn<() => void>()
    s.subscribe(told)
    s.want('topics=jobs')
    Source.last.say('hello', {})
    vi.advanceTimersByTime(10_000)
    expect(s.state.status).toBe('stale')
    expect(Source.all.length).toBeGreaterThan(1)
    expect(told).toHaveBeenCalled()
  })

  it('ignores a source that it has closed', () => {
    const s = new Stream('/stream', open)
    const seen: unknown[] = []
    s.on('job', (j) => seen.push(j))
    s.want('a')
    const old = Source.last
    s.want('b')
    old.say('job', { id: 'late' })
    old.fail()
    expect(seen).toEqual([])
    expect(Source.all).toHaveLength(2)
  })

  it('asks whether the session has ended when it is refused, or told of its end', () => {
    const refused = vi.fn<() => void>()
    const s = new Stream('/stream', open, refused)
    s.want('a')
    Source.last.fail(true)
    expect(refused).toHaveBeenCalledTimes(1)
    vi.advanceTimersByTime(1_000)
    Source.last.say('end', { reason: 'revoked' })
    expect(refused).toHaveBeenCalledTimes(2)
  })

  it('gives its connection back when nothing is wanted', () => {
    const s = new Stream('/stream', open)
    s.want('a')
    s.want(undefined)
    expect(Source.last.closed).toBe(true)
    vi.advanceTimersByTime(60_000)
    expect(Source.all).toHaveLength(1)
  })
})

describe('streamQuery', () => {
  it('is the same for the same wishes in any order', () => {
    expect(streamQuery(['jobs', 'nodes'])).toBe(streamQuery(['nodes', 'jobs', 'nodes']))
  })

  it('carries what of the filter is set', () => {
    expect(streamQuery(['jobs'], { container: 'abc', level: '', q: 'a b', tail: 0 })).toBe('topics=jobs%2Clogs&container=abc&q=a+b&tail=0')
  })
})
