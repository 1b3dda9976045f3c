import { useSyncExternalStore } from 'react'

/** What a person has chosen for this browser. What concerns what is looked at stands in the URL instead. */
export interface Prefs {
  theme: 'system' | 'light' | 'dark'
  density: 'comfortable' | 'compact'
  wrap: boolean
  times: boolean
}

const KEY = 'berth'
const defaults: Prefs = { theme: 'system', density: 'comfortable', wrap: false, times: true }
const listeners = new Set<() => void>()
let prefs = read()

function read(): Prefs {
  try {
    return { ...defaults, ...(JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Prefs>) }
  } catch {
    return defaults
  }
}

/** applyTheme tells the style sheet which theme holds. */
export function applyTheme(): void {
  if (prefs.theme === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = prefs.theme
}

export function setPref<K extends keyof Prefs>(key: K, value: Prefs[K]): void {
  prefs = { ...prefs, [key]: value }
  try {
    localStorage.setItem(KEY, JSON.stringify(prefs))
  } catch {
    // A browser that keeps nothing: the choice holds until the page is left.
  }
  applyTheme()
  listeners.forEach((f) => f())
}

export function usePrefs(): Prefs {
  return useSyncExternalStore(
    (f) => {
      listeners.add(f)
      return () => listeners.delete(f)
    },
    () => prefs,
  )
}
