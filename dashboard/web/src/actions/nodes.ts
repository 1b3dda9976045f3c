import { api, call } from '@/api/client'
import { queryClient } from '@/api/queries'
import type { Job } from '@/api/types'
import { attempt } from '@/lib/toasts'

const at = (id: string) => ({ params: { path: { id } } })

const refresh = () => void queryClient.invalidateQueries({ queryKey: ['nodes'] })

// An answer that is a job is followed; another one says that it is done.
async function act(title: string, done: string, run: () => Promise<unknown>): Promise<boolean> {
  const ok = await attempt(
    title,
    async () => {
      const answer = await run()
      return answer && typeof answer === 'object' && 'steps' in answer ? (answer as Job) : undefined
    },
    done,
  )
  refresh()
  return ok
}

export const drain = (id: string, name: string) => act(`Drain ${name}`, `${name} is drained`, () => call(api.POST('/api/nodes/{id}/drain', at(id))))

export const activate = (id: string, name: string) => act(`Activate ${name}`, `${name} takes containers again`, () => call(api.POST('/api/nodes/{id}/activate', at(id))))

export const remove = (id: string, name: string) => act(`Remove ${name}`, `${name} is removed`, () => call(api.DELETE('/api/nodes/{id}', at(id))))

export const setLabels = (id: string, name: string, labels: Record<string, string>) =>
  act(`Label ${name}`, `${name} is labelled`, () => call(api.PUT('/api/nodes/{id}/labels', { ...at(id), body: { labels } })))
