import { api, call } from '@/api/client'
import { queryClient } from '@/api/queries'
import type { Container, Job } from '@/api/types'
import { attempt } from '@/lib/toasts'
import { containers } from '@/live/live'

// oxlint-disable-next-line typescript/no-explicit-any
const raw = api as any

/** nameOf is how a container is called in a sentence. */
export const nameOf = (c: Pick<Container, 'id'>): string => c.id

const at = (id: string) => ({ params: { path: { id } } })

// What was asked for shows in the row at once: the record has changed before the answer came.
async function refresh(id: string): Promise<void> {
  containers.set(await call(api.GET('/api/containers/{id}', at(id))))
}

async function act(title: string, id: string, run: () => Promise<unknown>): Promise<boolean> {
  const ok = await attempt(title, async () => {
    const answer = (await run()) as Partial<Job> | undefined
    return answer?.function ? (answer as Job) : undefined // else the container: there was nothing to do
  })
  await refresh(id).catch(() => {}) // a purged one is gone
  return ok
}

export const start = (id: string) => act(`Start ${id}`, id, () => call(api.POST('/api/containers/{id}/start', at(id))))

export const stop = (id: string, force = false) =>
  act(`${force ? 'Force-stop' : 'Stop'} ${id}`, id, () => call(api.DELETE('/api/containers/{id}', { params: { path: { id }, ...(force ? { query: { force } } : {}) } })))

export const purge = (id: string) => act(`Delete ${id}`, id, () => call(api.DELETE('/api/containers/{id}', { params: { path: { id }, query: { purge: true } } })))

export const restart = (id: string) => act(`Restart ${id}`, id, () => call(raw.POST('/api/dashboard/container/{id}/action', { ...at(id), body: { action: 'restart' } })))

export const save = (id: string) => act(`Save ${id}`, id, () => call(api.POST('/api/containers/{id}/save', at(id))))

export const probe = (id: string) => act(`Probe ${id}`, id, () => call(api.POST('/api/containers/{id}/probe', at(id))))

export const restore = (id: string, generation: number) =>
  act(`Go back to save ${generation} of ${id}`, id, () => call(api.POST('/api/containers/{id}/restore', { ...at(id), body: { generation } })))

export const move = (id: string, node: string | undefined) =>
  act(`Move ${id}`, id, () => call(api.POST('/api/containers/{id}/move', { ...at(id), body: node ? { node } : {} })))

/** keepAlive puts the idle stop off; without an instant, by the idle timeout from now. */
export async function keepAlive(id: string, until?: Date): Promise<boolean> {
  const ok = await attempt(
    `Keep ${id} alive`,
    async () => {
      await call(api.POST('/api/containers/{id}/keepalive', { ...at(id), body: until ? { until: until.toISOString() } : {} }))
    },
    `${id} is kept alive`,
  )
  await refresh(id).catch(() => {})
  return ok
}

export type BulkAction = 'start' | 'stop' | 'restart' | 'delete'

/** bulk does the same to many, in one job with a result for each. */
export const bulk = (action: BulkAction, ids: string[]) =>
  attempt(`${action.charAt(0).toUpperCase()}${action.slice(1)} ${ids.length} containers`, () => call<Job>(raw.POST('/api/dashboard/containers/action', { body: { action, ids } })))

export const cancelJob = (id: string) => attempt('Cancel the job', () => call<Job>(api.DELETE('/api/jobs/{id}', at(id)) as Promise<{ data?: Job; response: Response }>))

export const retryJob = (id: string) => attempt('Try again', () => call<Job>(api.POST('/api/jobs/{id}/retry', at(id)) as Promise<{ data?: Job; response: Response }>))

export const forget = (key: string) => queryClient.invalidateQueries({ queryKey: [key] })
