import { describe, expect, it } from 'vitest'
import { containersSearch, jobsSearch, logsSearch, nodesSearch, safeNext } from './search'

describe('what the URL says', () => {
  it('is kept where it is valid', () => {
    expect(containersSearch({ q: 'alice', status: 'running', sort: '-cpu', open: 'k3xq', tab: 'logs' })).toEqual({ q: 'alice', status: 'running', sort: '-cpu', open: 'k3xq', tab: 'logs' })
    expect(logsSearch({ container: 'k3xq', level: 'warn', line: '1772366400000-0' })).toEqual({ container: 'k3xq', level: 'warn', line: '1772366400000-0' })
  })

  it('is left out where it is not, so that an old link still opens', () => {
    expect(containersSearch({ status: 'exploded', tab: 'x', sort: 'a;b', unsaved: 'yes', create: 'true', open: { a: 1 } })).toEqual({})
    expect(containersSearch({})).toEqual({})
    expect(jobsSearch({ status: 'starting', function: '' })).toEqual({})
    expect(logsSearch({ level: 'loud', line: 'x' })).toEqual({})
    expect(nodesSearch({ add: 1 })).toEqual({})
  })

  it('takes an ID that looks like a number', () => {
    expect(containersSearch({ open: 4_444_444_444_444 })).toEqual({ open: '4444444444444' })
  })

  it('is bounded', () => {
    expect(containersSearch({ q: 'x'.repeat(5_000) }).q).toHaveLength(200)
  })
})

describe('where to go after the login', () => {
  const here = 'https://berth.example.com'

  it('is a page of the dashboard', () => {
    expect(safeNext('/dashboard/containers?status=failed', here)).toBe('/dashboard/containers?status=failed')
    expect(safeNext('/dashboard', here)).toBe('/dashboard')
  })

  it.each(['https://evil.example', '//evil.example/dashboard', '/\\evil.example/dashboard', '/api/session', 'javascript:alert(1)', '/dashboard/../api/keys', '', 7, undefined])('is not %s', (next) => {
    expect(safeNext(next, here)).toBeUndefined()
  })
})
