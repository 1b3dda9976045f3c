import { describe, expect, it } from 'vitest'
import { age, ago, bytes, count, percent, span } from './format'

const plain = (s: string) => s.replaceAll('\u00A0', ' ')

describe('format', () => {
  it.each([
    [0, '0 B'],
    [1_023, '1,023 B'],
    [1_024, '1 KiB'],
    [1_610_612_736, '1.5 GiB'],
    [104_857_600, '100 MiB'],
    [undefined, '–'],
  ])('bytes %s', (n, want) => expect(plain(bytes(n))).toBe(want))

  it.each([
    [0, '0 %'],
    [0.04, '0 %'],
    [7, '7 %'],
    [7.25, '7.3 %'],
    [99.6, '100 %'],
    [undefined, '–'],
  ])('percent %s', (n, want) => expect(plain(percent(n))).toBe(want))

  it.each([
    [0.0314, '31 ms'],
    [2, '2 s'],
    [2.94, '2.9 s'],
    [59.9, '59 s'],
    [61, '1 min 1 s'],
    [3_600, '1 h'],
    [90_061, '1 d 1 h'],
  ])('span %s', (n, want) => expect(span(n)).toBe(want))

  it('says how old something is, and how far away', () => {
    const now = Date.parse('2026-03-01T12:00:00Z')
    expect(age('2026-03-01T11:59:58Z', now)).toBe('now')
    expect(ago('2026-03-01T11:57:00Z', now)).toBe('3 min ago')
    expect(ago('2026-03-01T12:30:20Z', now)).toBe('in 30 min')
  })

  it('counts', () => {
    expect([count(1, 'node'), count(2, 'node'), count(0, 'delivery', 'deliveries')]).toEqual(['1 node', '2 nodes', '0 deliveries'])
  })
})
