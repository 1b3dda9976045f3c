import { describe, expect, it } from 'vitest'
import { type Line, Lines, later } from './lines'

const now = (work: () => void) => work
const line = (n: number): Line => ({ id: `1772366400000-${n}`, at: '2026-03-01T12:00:00Z', source: 'stdout', level: 'info', text: `line ${n}` })
const lines = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => line(from + i))
const texts = (l: Lines) => [...l.shown].map((x) => x.text)

describe('Lines', () => {
  it('leaves out what it has had when a stream begins again with its last lines', () => {
    const l = new Lines(10, now)
    l.add(lines(1, 3))
    l.add(lines(2, 5))
    expect(texts(l)).toEqual(['line 1', 'line 2', 'line 3', 'line 4', 'line 5'])
  })

  it('keeps what is shown while it is paused, and shows the rest then', () => {
    const l = new Lines(10, now)
    l.add(lines(1, 2))
    l.pause()
    l.add(lines(3, 6))
    expect(texts(l)).toEqual(['line 1', 'line 2'])
    expect(l.waiting).toBe(4)
    l.resume()
    expect(texts(l)).toHaveLength(6)
    expect(l.waiting).toBe(0)
  })

  it('says how many came in a pause, also more than it keeps', () => {
    const l = new Lines(10, now)
    l.pause()
    l.add(lines(1, 1_240))
    expect(l.waiting).toBe(1_240)
    l.resume()
    expect(texts(l).at(-1)).toBe('line 1240')
    expect(l.shown.length).toBe(10)
  })

  it('tells its listeners once for each change, and when lines were left out', () => {
    const l = new Lines(10, now)
    let told = 0
    l.subscribe(() => told++)
    l.add(lines(1, 3))
    l.drop(7)
    expect(told).toBe(2)
    expect(l.dropped).toBe(7)
  })

  it('begins anew when it is cleared', () => {
    const l = new Lines(10, now)
    l.add(lines(5, 9))
    l.pause()
    l.clear()
    l.add(lines(1, 2))
    expect(texts(l)).toEqual(['line 1', 'line 2'])
  })
})

describe('later', () => {
  it('compares numbers, not text', () => {
    expect(later('10-0', '9-99')).toBe(true)
    expect(later('9-10', '9-9')).toBe(true)
    expect(later('9-9', '9-9')).toBe(false)
  })
})
