import type { ServerResponse } from 'node:http'

interface Options {
  containers?: number
  nodes?: number
  role?: string
  long?: boolean
  failing?: string[]
  onStream?: (stream: { res: ServerResponse; query: URLSearchParams }) => void
}

interface Job {
  id: string
  status: string
}

interface Container {
  id: string
  status: string
  resourceUsage?: { cpu: number }
}

export interface Fleet {
  url: string
  fleet: { role: string; failing: string[]; order: string[]; containers: Map<string, Container>; jobs: Map<string, Job>; nodes: { id: string; hostname: string }[] }
  streams: Set<{ res: ServerResponse; query: URLSearchParams }>
  send: (topic: string, event: string, data: unknown) => void
  close: () => Promise<void>
}

export function makeFleet(options?: Options): Fleet['fleet']
export function startFleet(options?: Options, port?: number): Promise<Fleet>
export function logBatch(n: number): unknown[]
