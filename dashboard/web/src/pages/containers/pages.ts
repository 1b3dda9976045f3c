import { useQueries } from '@tanstack/react-query'
import { useEffect, useMemo } from 'react'
import { api, call } from '@/api/client'
import type { ContainersSearch } from '@/lib/search'
import { containers } from '@/live/live'

export const PAGE = 200

// What containers use is measured every 10 s; nothing is told of that in between.
const MEASURED = 10_000

interface Page {
  limit: number
  offset: number
}

async function read(filter: object, page: number, signal?: AbortSignal) {
  const query: Page = { ...filter, limit: PAGE, offset: page * PAGE }
  const list = await call(api.GET('/api/containers', { params: { query }, ...(signal && { signal }) }))
  for (const c of list.containers) containers.set(c)
  return list
}

type Filter = Pick<ContainersSearch, 'q' | 'status' | 'owner' | 'node' | 'unsaved' | 'sort'>

export interface PageOfIds {
  ids: string[]
  total: number
}

/** filterOf is what of the URL the server filters by. */
export const filterOf = ({ q, status, owner, node, unsaved, sort }: ContainersSearch): Filter => ({
  ...(q && { q }),
  ...(status && !unsaved && { status }),
  ...(owner && { owner }),
  ...(node && { node }),
  ...(unsaved && { unsaved }),
  ...(sort && { sort }),
})

/** pagesFor is which pages rows first to last lie on; always the first, which says how many there are. */
export function pagesFor(first: number, last: number): number[] {
  const pages = new Set([0])
  for (let p = Math.floor(Math.max(0, first) / PAGE); p <= Math.floor(Math.max(0, last) / PAGE); p++) pages.add(p)
  return [...pages].toSorted((a, b) => a - b)
}

/** useRows asks for the pages that are looked at. What the rows show is in the store of containers, which stays new. */
export function useRows(search: ContainersSearch, first: number, last: number) {
  const filter = filterOf(search)
  const key = JSON.stringify(filter)
  const pages = pagesFor(first, last)
  const results = useQueries({
    queries: pages.map((page) => ({
      queryKey: ['containers', key, page],
      queryFn: async ({ signal }: { signal: AbortSignal }): Promise<PageOfIds> => {
        const list = await read(filter, page, signal)
        return { ids: list.containers.map((c) => c.id), total: list.total }
      },
      placeholderData: (before: PageOfIds | undefined) => before,
    })),
  })
  // The rows get their new figures; which rows there are, and their order, stays.
  const inSight = pages.slice(-2).join()
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.hidden) return
      for (const page of inSight.split(',')) void read(JSON.parse(key) as object, Number(page)).catch(() => {}) // the stream says that the server is away
    }, MEASURED)
    return () => clearInterval(timer)
  }, [key, inSight])
  const head = results[0]
  const total = head?.data?.total ?? 0
  const loaded = useMemo(() => new Map(pages.map((p, i) => [p, results[i]?.data?.ids])), [pages, results])
  return {
    key,
    total,
    at: (index: number): string | undefined => loaded.get(Math.floor(index / PAGE))?.[index % PAGE],
    loaded: [...loaded.values()].flatMap((ids) => ids ?? []),
    first: head?.isPending ?? true,
    error: results.find((r) => r.error)?.error,
    busy: results.some((r) => r.isFetching),
  }
}
