import { queryOptions } from '@tanstack/react-query'
import { api, call } from '@/api/client'

/** functionsQuery is the names of functions that jobs are of, as far as the newest 200 tell. */
export const functionsQuery = queryOptions({
  queryKey: ['functions'],
  queryFn: async ({ signal }) => {
    const { jobs } = await call(api.GET('/api/jobs', { params: { query: { limit: 200 } }, signal }))
    return [...new Set(jobs.map((j) => j.function))].toSorted()
  },
})
