/** Span is a piece of a line with one look. */
export interface Span {
  text: string
  class: string
}

const COLOURS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white']
const SEQUENCE = /\u001B(?:\[([0-9;:?]*)([@-~])|\][^\u0007\u001B]*(?:\u0007|\u001B\\)|[@-Z\\-_])/g
const CONTROL = /[\u0000-\u0008\u000B-\u001F\u007F\u202A-\u202E\u2066-\u2069]/g

/** ansi splits a line at its colour sequences (ECMA-48 SGR). All other sequences and control characters are dropped: what a
 * program prints can change nothing but colours. */
export function ansi(line: string): Span[] {
  if (!line.includes('\u001B')) return [{ text: line.replaceAll(CONTROL, ''), class: '' }]
  const spans: Span[] = []
  const look = { colour: '', bold: false, dim: false, italic: false, underline: false }
  let at = 0
  const add = (text: string) => {
    const clean = text.replaceAll(CONTROL, '')
    if (clean === '') return
    const classes = [
      look.colour && `ansi-${look.colour}`,
      look.bold && 'font-semibold',
      look.dim && 'text-muted',
      look.italic && 'italic',
      look.underline && 'underline',
    ]
    spans.push({ text: clean, class: classes.filter(Boolean).join(' ') })
  }
  for (const m of line.matchAll(SEQUENCE)) {
    add(line.slice(at, m.index))
    at = m.index + m[0].length
    if (m[2] !== 'm') continue
    const codes = (m[1] || '0').split(/[;:]/).map(Number)
    for (let i = 0; i < codes.length; i++) {
      const c = codes[i] as number
      if (c === 0) Object.assign(look, { colour: '', bold: false, dim: false, italic: false, underline: false })
      else if (c === 1) look.bold = true
      else if (c === 2) look.dim = true
      else if (c === 3) look.italic = true
      else if (c === 4) look.underline = true
      else if (c === 22) look.bold = look.dim = false
      else if (c === 23) look.italic = false
      else if (c === 24) look.underline = false
      else if (c >= 30 && c <= 37) look.colour = COLOURS[c - 30] as string
      else if (c >= 90 && c <= 97) look.colour = COLOURS[c - 90] as string
      else if (c === 39) look.colour = ''
      else if (c === 38 || c === 48) {
        // 256 colours and RGB: one of the eight where it is one, else the plain colour; a background is left out.
        const n = codes[i + 2]
        if (c === 38 && codes[i + 1] === 5 && n !== undefined && n < 16) look.colour = COLOURS[n % 8] as string
        i += codes[i + 1] === 2 ? 4 : 2
      }
    }
  }
  add(line.slice(at))
  return spans.length > 0 ? spans : [{ text: '', class: '' }]
}
