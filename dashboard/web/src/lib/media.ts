import { useCallback, useSyncExternalStore } from 'react'

/** useMedia says whether a media query holds. */
export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    useCallback(
      (f) => {
        const m = matchMedia(query)
        m.addEventListener('change', f)
        return () => m.removeEventListener('change', f)
      },
      [query],
    ),
    () => matchMedia(query).matches,
  )
}
