import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { listener } from './keys'

let now = 0
const go = vi.fn<() => void>()
const search = vi.fn<() => void>()
const keys = listener(() => ({ 'g c': go, '/': search }), () => now)
const press = (key: string, target: EventTarget = document.body, more: KeyboardEventInit = {}) => target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more }))

describe('shortcuts', () => {
  beforeEach(() => {
    go.mockReset()
    search.mockReset()
    document.addEventListener('keydown', keys)
  })
  afterEach(() => document.removeEventListener('keydown', keys))

  it('takes two keys one after the other', () => {
    press('g')
    press('c')
    expect(go).toHaveBeenCalledTimes(1)
  })

  it('forgets the first key after a while', () => {
    press('g')
    now += 5_000
    press('c')
    expect(go).not.toHaveBeenCalled()
  })

  it('leaves keys alone that are typed into a field, or go with Ctrl', () => {
    const field = document.createElement('input')
    document.body.append(field)
    press('/', field)
    press('/', document.body, { ctrlKey: true })
    expect(search).not.toHaveBeenCalled()
    press('/')
    expect(search).toHaveBeenCalledTimes(1)
  })
})
