import { describe, expect, it } from 'vitest'
import { ansi } from './ansi'

describe('ansi', () => {
  it('splits a line at its colours', () => {
    expect(ansi('\u001B[31mred\u001B[0m plain \u001B[1;32mbold\u001B[22;39m')).toEqual([
      { text: 'red', class: 'ansi-red' },
      { text: ' plain ', class: '' },
      { text: 'bold', class: 'ansi-green font-semibold' },
    ])
  })

  it('leaves markup what it is: text', () => {
    expect(ansi('<img src=x onerror=alert(1)>')).toEqual([{ text: '<img src=x onerror=alert(1)>', class: '' }])
  })

  it('drops what moves the cursor, sets titles or links, and characters that turn text around', () => {
    expect(ansi('a\u001B[2Jb\u001B]0;title\u0007c\u001B]8;;http://evil\u001B\\d\u202Ee\rf')).toEqual([
      { text: 'a', class: '' },
      { text: 'b', class: '' },
      { text: 'c', class: '' },
      { text: 'def', class: '' },
    ])
  })

  it('takes 256 colours and RGB without losing its place', () => {
    expect(ansi('\u001B[38;5;9mx\u001B[48;2;1;2;3;4my')).toEqual([
      { text: 'x', class: 'ansi-red' },
      { text: 'y', class: 'ansi-red underline' },
    ])
  })
})
