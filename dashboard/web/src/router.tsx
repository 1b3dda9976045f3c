import { createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from '@tanstack/react-router'
import { ApiError, whenUnauthenticated } from '@/api/client'
import { queryClient, sessionQuery } from '@/api/queries'
import { containersSearch, jobsSearch, loginSearch, logsSearch, nodesSearch, settingsSearch, settingsTabs } from '@/lib/search'
import { disconnect, whenRefused } from '@/live/live'
import { Crash, Missing } from '@/shell/crash'
import { Shell } from '@/shell/shell'

const root = createRootRoute({ notFoundComponent: Missing, errorComponent: Crash })

const login = createRoute({
  getParentRoute: () => root,
  path: '/login',
  validateSearch: loginSearch,
  component: lazyRouteComponent(() => import('@/pages/login')),
})

const shell = createRoute({
  getParentRoute: () => root,
  id: 'shell',
  beforeLoad: async ({ location }) => {
    try {
      return { session: await queryClient.ensureQueryData(sessionQuery) }
    } catch (error) {
      if (error instanceof ApiError && error.status === 401)
        throw redirect({ to: '/login', search: { next: `/dashboard${location.href}`.replace('/dashboard/dashboard', '/dashboard') } })
      throw error
    }
  },
  component: Shell,
})

const overview = createRoute({
  getParentRoute: () => shell,
  path: '/',
  beforeLoad: ({ context }) => {
    if (context.session.role === 'client') throw redirect({ to: '/containers' })
  },
  component: lazyRouteComponent(() => import('@/pages/overview')),
})

const nodes = createRoute({
  getParentRoute: () => shell,
  path: '/nodes',
  validateSearch: nodesSearch,
  component: lazyRouteComponent(() => import('@/pages/nodes')),
})

const containers = createRoute({
  getParentRoute: () => shell,
  path: '/containers',
  validateSearch: containersSearch,
  component: lazyRouteComponent(() => import('@/pages/containers')),
})

const logs = createRoute({
  getParentRoute: () => shell,
  path: '/logs',
  validateSearch: logsSearch,
  component: lazyRouteComponent(() => import('@/pages/logs')),
})

const jobs = createRoute({
  getParentRoute: () => shell,
  path: '/jobs',
  validateSearch: jobsSearch,
  component: lazyRouteComponent(() => import('@/pages/jobs')),
})

const settingsIndex = createRoute({
  getParentRoute: () => shell,
  path: '/settings',
  beforeLoad: ({ context }) => {
    throw redirect({ to: '/settings/$tab', params: { tab: context.session.role === 'admin' ? 'keys' : 'webhooks' }, replace: true })
  },
})

const settings = createRoute({
  getParentRoute: () => shell,
  path: '/settings/$tab',
  validateSearch: settingsSearch,
  params: { parse: ({ tab }) => ({ tab: settingsTabs.find((t) => t === tab) ?? 'webhooks' }) },
  component: lazyRouteComponent(() => import('@/pages/settings')),
})

export const router = createRouter({
  routeTree: root.addChildren([login, shell.addChildren([overview, nodes, containers, logs, jobs, settingsIndex, settings])]),
  basepath: '/dashboard',
  defaultPreload: 'intent',
  defaultPendingMinMs: 0,
  scrollRestoration: true,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}

/** leave goes to the login, and back here after it. */
export function leave(reason?: string): void {
  disconnect()
  queryClient.clear()
  const here = router.state.location
  if (here.pathname.endsWith('/login')) return
  const next = location.pathname + location.search
  void router.navigate({ to: '/login', search: { next, ...(reason ? { reason } : {}) }, replace: true })
}

whenUnauthenticated(() => {
  // Before somebody is logged in, the router itself leads to the login.
  if (queryClient.getQueryData(sessionQuery.queryKey)) leave('The session has ended, or its key is no longer taken.')
})
whenRefused(() => void queryClient.fetchQuery({ ...sessionQuery, staleTime: 0, retry: false }).catch(() => {}))
