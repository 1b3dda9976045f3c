import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query'
import { api, call } from '@/api/client'
import type { JobsSearch } from '@/lib/search'
import { jobs } from '@/live/live'

const PAGE = 100

/** useJobs is the list, in pages; what its rows show is in the store of jobs. */
export function useJobs({ status, function: name }: JobsSearch) {
  return useInfiniteQuery({
    queryKey: ['jobs', status ?? '', name ?? ''],
    initialPageParam: 0,
    placeholderData: keepPreviousData,
    queryFn: async ({ pageParam, signal }) => {
      const query = { limit: PAGE, offset: pageParam, ...(status && { status }), ...(name && { function: name }) }
      const list = await call(api.GET('/api/jobs', { params: { query }, signal }))
      for (const j of list.jobs) jobs.set(j)
      return { ids: list.jobs.map((j) => j.id), total: list.total }
    },
    getNextPageParam: (last, pages) => (pages.length * PAGE < last.total && last.ids.length > 0 ? pages.length * PAGE : undefined),
  })
}
