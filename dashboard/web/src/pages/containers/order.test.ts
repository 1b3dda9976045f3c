import { describe, expect, it } from 'vitest'
import type { Container } from '@/api/types'
import { moves } from './order'
import { pagesFor } from './pages'

const c = (more: Partial<Container>) => ({ id: 'a', status: 'running', owner: 'course-1', createdAt: '2026-03-01T12:00:00Z', ...more }) as Container
const change = (before: Container | undefined, after: Container | undefined) => ({ changed: new Map([['a', { before, after }]]) })
const long = Date.parse('2027-01-01')

describe('what changes the order of the list', () => {
  it('is no change within a row', () => {
    expect(moves(change(c({}), c({ lastActivity: '2026-03-01T12:01:00Z' })), {}, 0)).toBe(0)
    expect(moves(change(c({ status: 'running' }), c({ status: 'stopping' })), {}, 0)).toBe(0)
  })

  it('is a container that comes, or goes', () => {
    expect(moves(change(undefined, c({})), {}, 0)).toBe(1)
    expect(moves(change(c({}), undefined), {}, 0)).toBe(1)
    expect(moves(change(c({ status: 'running' }), c({ status: 'failed' })), { status: 'running' }, 0)).toBe(1)
  })

  it('is none that the filter leaves out', () => {
    expect(moves(change(undefined, c({ owner: 'other' })), { owner: 'course-1' }, 0)).toBe(0)
    expect(moves(change(c({ status: 'stopped' }), undefined), { unsaved: true }, 0)).toBe(0)
  })

  it('is no old container of a page that was not looked at yet', () => {
    expect(moves(change(undefined, c({})), {}, long)).toBe(0)
  })
})

describe('pagesFor', () => {
  it('asks for the first page and those in sight', () => {
    expect(pagesFor(0, 30)).toEqual([0])
    expect(pagesFor(190, 210)).toEqual([0, 1])
    expect(pagesFor(9_990, 10_000)).toEqual([0, 49, 50])
  })
})
