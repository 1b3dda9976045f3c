import { QueryClient, queryOptions } from '@tanstack/react-query'
import { ApiError, api, call } from './client'
import { containers, jobs } from '@/live/live'

// What has changed comes over the stream, and after a gap everything is asked for again: nothing is asked for by time.
export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 30_000,
      refetchOnWindowFocus: false,
      retry: (n, e) => n < 2 && !(e instanceof ApiError && e.status >= 400 && e.status < 500),
      retryDelay: (n) => 400 * 2 ** n,
    },
  },
})

export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: () => call(api.GET('/api/session')),
  staleTime: Infinity,
  retry: (n, e) => n < 3 && !(e instanceof ApiError && e.status > 0 && e.status < 500),
})

export const login = (key: string) => call<unknown>(api.POST('/api/session', { body: { key } }))
export const logout = () => call<unknown>(api.DELETE('/api/session'))

export const healthQuery = queryOptions({
  queryKey: ['health'],
  queryFn: async ({ signal }) => {
    const { data, error, response } = await api.GET('/api/health', { signal })
    // 503 is an answer, too: it says what is wrong.
    const health = data ?? error
    if (!health || !('checks' in health)) throw new ApiError(response.status, 'NO_ANSWER', 'The health is not known.', undefined, undefined, undefined)
    return health
  },
  refetchInterval: 15_000,
})

export const overviewQuery = queryOptions({
  queryKey: ['overview'],
  queryFn: ({ signal }) => call(api.GET('/api/dashboard/overview', { signal })),
})

export const nodesQuery = queryOptions({
  queryKey: ['nodes'],
  queryFn: ({ signal }) => call(api.GET('/api/dashboard/nodes', { signal })),
})

export const clusterUsageQuery = (window: string) =>
  queryOptions({
    queryKey: ['usage', 'cluster', window],
    queryFn: ({ signal }) => call(api.GET('/api/dashboard/usage', { params: { query: { window } }, signal })),
    refetchInterval: 10_000,
  })

export const nodeUsageQuery = (id: string, window: string) =>
  queryOptions({
    queryKey: ['usage', 'node', id, window],
    queryFn: ({ signal }) => call(api.GET('/api/nodes/{id}/usage', { params: { path: { id }, query: { window } }, signal })),
    refetchInterval: 10_000,
  })

export const containerUsageQuery = (id: string, window: string) =>
  queryOptions({
    queryKey: ['usage', 'container', id, window],
    queryFn: ({ signal }) => call(api.GET('/api/containers/{id}/usage', { params: { path: { id }, query: { window } }, signal })),
    refetchInterval: 10_000,
  })

export const containerQuery = (id: string) =>
  queryOptions({
    queryKey: ['container', id],
    queryFn: async ({ signal }) => {
      const c = await call(api.GET('/api/containers/{id}', { params: { path: { id } }, signal }))
      containers.set(c)
      return c
    },
  })

export const eventsQuery = (id: string) =>
  queryOptions({
    queryKey: ['events', id],
    queryFn: async ({ signal }) => (await call(api.GET('/api/containers/{id}/events', { params: { path: { id } }, signal }))).events,
  })

export const generationsQuery = (id: string) =>
  queryOptions({
    queryKey: ['generations', id],
    queryFn: async ({ signal }) => (await call(api.GET('/api/containers/{id}/generations', { params: { path: { id } }, signal }))).generations,
  })

export const jobQuery = (id: string) =>
  queryOptions({
    queryKey: ['job', id],
    queryFn: async ({ signal }) => {
      const j = await call(api.GET('/api/jobs/{id}', { params: { path: { id } }, signal }))
      jobs.set(j)
      return j
    },
  })

export const keysQuery = queryOptions({
  queryKey: ['keys'],
  queryFn: async ({ signal }) => (await call(api.GET('/api/keys', { signal }))).keys,
})

export const webhooksQuery = queryOptions({
  queryKey: ['webhooks'],
  queryFn: async ({ signal }) => (await call(api.GET('/api/webhooks', { signal }))).webhooks,
  refetchInterval: 10_000,
})

export const deliveriesQuery = (id: string) =>
  queryOptions({
    queryKey: ['deliveries', id],
    queryFn: ({ signal }) => call(api.GET('/api/webhooks/{id}/deliveries', { params: { path: { id }, query: { limit: 100 } }, signal })),
    refetchInterval: 5_000,
  })

export const schedulesQuery = queryOptions({
  queryKey: ['schedules'],
  queryFn: async ({ signal }) => (await call(api.GET('/api/schedules', { signal }))).schedules,
  refetchInterval: 10_000,
})

export const templatesQuery = queryOptions({
  queryKey: ['templates'],
  queryFn: async ({ signal }) => (await call(api.GET('/api/templates', { signal }))).templates,
})
