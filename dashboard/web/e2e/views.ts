import type { Page } from '@playwright/test'
import { type Fleet, logBatch, startFleet } from './fleet.mjs'

/** open starts a fleet whose streams begin with some lines of log. */
export const open = (options: Parameters<typeof startFleet>[0] = {}): Promise<Fleet> =>
  startFleet({
    ...options,
    onStream: ({ res, query }) => {
      if (query.get('topics')?.includes('logs')) res.write(`event: logs\ndata: ${JSON.stringify(logBatch(60))}\n\n`)
    },
  })

/** views are all pages, and the drawers and dialogs on them: name, path, and what shows that they are there. */
export function views(f: Pick<Fleet, 'fleet'>): { name: string; path: string; ready: string }[] {
  const all = [...f.fleet.containers.values()]
  const running = all.find((c) => c.status === 'running')?.id ?? ''
  const failed = all.find((c) => c.status === 'failed')?.id ?? ''
  const job = [...f.fleet.jobs.values()].find((j) => j.status === 'failed')?.id ?? ''
  return [
    { name: 'login', path: '/dashboard/login', ready: 'role=button[name="Log in"]' },
    { name: 'overview', path: '/dashboard/', ready: 'text=Most active' },
    { name: 'nodes', path: '/dashboard/nodes', ready: 'role=link[name="node-1"]' },
    { name: 'node', path: `/dashboard/nodes?open=${f.fleet.nodes[1]?.id}`, ready: 'role=dialog >> text=Address' },
    { name: 'node-add', path: '/dashboard/nodes?add=true', ready: 'text=docker swarm join' },
    { name: 'containers', path: '/dashboard/containers', ready: '[data-row="5"] [data-open]' },
    { name: 'container', path: `/dashboard/containers?open=${running}`, ready: 'role=dialog >> text=Runs since' },
    { name: 'container-failed', path: `/dashboard/containers?open=${failed}`, ready: 'role=dialog >> text=It has failed' },
    { name: 'container-timeline', path: `/dashboard/containers?open=${running}&tab=timeline`, ready: 'role=dialog >> text=The URLs answer.' },
    { name: 'container-logs', path: `/dashboard/containers?open=${running}&tab=logs`, ready: 'role=dialog >> [data-index="0"]' },
    { name: 'container-workspace', path: `/dashboard/containers?open=${running}&tab=workspace`, ready: 'text=the present one' },
    { name: 'container-access', path: `/dashboard/containers?open=${running}&tab=access`, ready: 'text=Show the credentials' },
    { name: 'create', path: '/dashboard/containers?create=true', ready: 'role=dialog >> text=Bucket' },
    { name: 'logs', path: '/dashboard/logs', ready: '[data-index="0"], [data-index="40"]' },
    { name: 'jobs', path: '/dashboard/jobs', ready: 'role=link[name="Container create"] >> nth=0' },
    { name: 'job', path: `/dashboard/jobs?open=${encodeURIComponent(job)}`, ready: 'role=dialog >> text=It failed' },
    { name: 'keys', path: '/dashboard/settings/keys', ready: 'text=course-1' },
    { name: 'webhooks', path: '/dashboard/settings/webhooks', ready: 'text=https://hooks.example.org/berth' },
    { name: 'deliveries', path: '/dashboard/settings/webhooks?open=wq5xqh5zt2mwf', ready: 'role=dialog >> text=container.failed' },
    { name: 'schedules', path: '/dashboard/settings/schedules', ready: 'text=idle-sweep' },
    { name: 'templates', path: '/dashboard/settings/templates', ready: 'text=PYTHONUNBUFFERED' },
  ]
}

/** named is the view of that name. */
export function named(f: Fleet, name: string): { path: string; ready: string } {
  const found = views(f).find((v) => v.name === name)
  if (!found) throw new Error(`no view is called ${name}`)
  return found
}

/** show opens a view and waits until it is there. */
export async function show(page: Page, f: Fleet, view: { path: string; ready: string }): Promise<void> {
  await page.goto(f.url + view.path)
  await page.locator(view.ready).first().waitFor()
}
