import { useSyncExternalStore } from 'react'
import { asApiError } from '@/api/client'
import type { Job } from '@/api/types'
import { jobs } from '@/live/live'

/** Toast is a word about something that was just done: how its job goes, or why it did not. */
export interface Toast {
  key: number
  title: string
  job?: string
  error?: unknown
}

let list: Toast[] = []
let number = 0
const listeners = new Set<() => void>()
const MOST = 4

function change(next: Toast[]): void {
  list = next
  listeners.forEach((f) => f())
}

export function useToasts(): Toast[] {
  return useSyncExternalStore(
    (f) => {
      listeners.add(f)
      return () => listeners.delete(f)
    },
    () => list,
  )
}

export const dismiss = (key: number): void => change(list.filter((t) => t.key !== key))

function add(t: Omit<Toast, 'key'>): void {
  // Of one job there is one toast: asking twice gives the same job.
  change([...list.filter((x) => !t.job || x.job !== t.job), { ...t, key: ++number }].slice(-MOST))
}

export const say = (title: string): void => add({ title })

export const sayError = (title: string, error: unknown): void => add({ title, error: asApiError(error) })

/** follow shows how a job goes on until its end. */
export function follow(title: string, job: Job): void {
  const known = jobs.get(job.id)
  if (!known || known.attempt < job.attempt || known.status === 'queued') jobs.set(job)
  add({ title, job: job.id })
}

/** attempt runs what a button does: its job is followed, its failure is told. It answers whether it succeeded. */
export async function attempt(title: string, run: () => Promise<Job | undefined | void>, done?: string): Promise<boolean> {
  try {
    const job = await run()
    if (job) follow(title, job)
    else if (done) say(done)
    return true
  } catch (error) {
    sayError(title, error)
    return false
  }
}
