import { useSyncExternalStore } from 'react'
import { age, ago, dateTime, span } from '@/lib/format'

// One clock for all times on the page.
const listeners = new Set<() => void>()
let now = Date.now()
let timer: ReturnType<typeof setInterval> | undefined

function subscribe(f: () => void): () => void {
  listeners.add(f)
  now = Date.now()
  timer ??= setInterval(() => {
    now = Date.now()
    listeners.forEach((g) => g())
  }, 1_000)
  return () => {
    listeners.delete(f)
    if (listeners.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

/** useNow is the time, whole seconds apart; with a step, it changes only that often. */
export function useNow(step = 1): number {
  return useSyncExternalStore(subscribe, () => Math.floor(now / 1_000 / step) * 1_000 * step)
}

const missing = <span className="text-muted">–</span>

/** Age is how old something is, short; Ago the same in a sentence. Both show the exact time on hover. */
export function Age({ at }: { at: string | undefined | null }) {
  return at ? <AgeOf at={at} /> : missing
}
function AgeOf({ at }: { at: string }) {
  const text = useSyncExternalStore(subscribe, () => age(at, now))
  return (
    <time dateTime={at} title={dateTime(at)} className="num">
      {text}
    </time>
  )
}

export function Ago({ at }: { at: string | undefined | null }) {
  return at ? <AgoOf at={at} /> : missing
}
function AgoOf({ at }: { at: string }) {
  const text = useSyncExternalStore(subscribe, () => ago(at, now))
  return (
    <time dateTime={at} title={dateTime(at)} className="num">
      {text}
    </time>
  )
}

/** Since counts the time from an instant, as it passes. */
export function Since({ at }: { at: string }) {
  const text = useSyncExternalStore(subscribe, () => span(Math.round((now - new Date(at).getTime()) / 1_000)))
  return <span className="num">{text}</span>
}
