/** typing says whether a key belongs to what is being written, and to no shortcut. */
export function typing(e: KeyboardEvent): boolean {
  const t = e.target
  return t instanceof HTMLElement && (t.isContentEditable || t.matches('input:not([type=checkbox]):not([type=radio]), textarea, select'))
}

/** Shortcuts by what is typed: "/" or "g o" (one key after the other). */
export type Shortcuts = Record<string, () => void>

const PAUSE = 1_200

/** listener hands keys to shortcuts; the first key of a pair waits for the second for a moment. */
export function listener(shortcuts: () => Shortcuts, now: () => number = Date.now): (e: KeyboardEvent) => void {
  let first = ''
  let at = 0
  return (e) => {
    if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || typing(e)) return
    const all = shortcuts()
    const pair = first !== '' && now() - at < PAUSE ? `${first} ${e.key}` : ''
    first = ''
    const run = all[pair] ?? all[e.key]
    if (run) {
      e.preventDefault()
      run()
    } else if (Object.keys(all).some((k) => k.startsWith(`${e.key} `))) {
      first = e.key
      at = now()
    }
  }
}
