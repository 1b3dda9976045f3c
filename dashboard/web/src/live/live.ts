import type { Container, Job } from '@/api/types'
import { Entities } from './entities'
import { Stream } from './stream'
import { type LogFilter, streamQuery } from './topics'

/** containers and jobs are what this tab has seen of them, kept new by the stream. */
export const containers = new Entities<Container>()
export const jobs = new Entities<Job>()

let onRefused = () => {}

/** whenRefused is told that the server gives this tab no stream: the session may have ended. */
export function whenRefused(f: () => void): void {
  onRefused = f
}

export const stream = new Stream('/api/dashboard/stream', undefined, () => onRefused())

stream.on('container', (data) => containers.set(data as Container))
stream.on('gone', (data) => containers.delete((data as { id: string }).id))
stream.on('job', (data) => jobs.set(data as Job))

const base = ['overview', 'nodes', 'containers', 'jobs']
const hiddenFor = 60_000 // a hidden tab keeps its place in the browser's few connections no longer

let active = false
let logs: LogFilter | undefined
let asleep = false
let sleep: ReturnType<typeof setTimeout> | undefined

function apply(): void {
  if (!active || asleep) stream.want(undefined)
  else stream.want(streamQuery(base, document.hidden ? undefined : logs))
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(sleep)
  asleep = false
  if (document.hidden)
    sleep = setTimeout(() => {
      asleep = true
      apply()
    }, hiddenFor)
  apply()
})

/** connect opens the stream; disconnect ends it, when nobody is logged in. */
export function connect(): void {
  active = true
  apply()
}

export function disconnect(): void {
  active = false
  apply()
}

/** wantLogs adds lines to the stream; undefined takes them off. */
export function wantLogs(filter: LogFilter | undefined): void {
  logs = filter
  apply()
}
