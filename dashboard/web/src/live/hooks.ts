import { useCallback, useEffect, useRef, useSyncExternalStore } from 'react'
import type { Container, Job } from '@/api/types'
import type { Connection } from './connection'
import type { Change, Entities } from './entities'
import { containers, jobs, stream } from './live'
import type { EventType } from './stream'

/** useConnection is the state of the stream. */
export function useConnection(): Connection {
  return useSyncExternalStore(stream.subscribe, () => stream.state)
}

function useEntity<T extends { id: string }>(store: Entities<T>, id: string | undefined): T | undefined {
  return useSyncExternalStore(
    useCallback((f) => (id === undefined ? () => {} : store.subscribe(id, f)), [store, id]),
    () => (id === undefined ? undefined : store.get(id)),
  )
}

/** useContainer and useJob are the newest state of one of them; undefined while this tab has not seen it. */
export const useContainer = (id: string | undefined): Container | undefined => useEntity(containers, id)
export const useJob = (id: string | undefined): Job | undefined => useEntity(jobs, id)

/** useChanges calls f for what changes among all of them, once a frame at most. */
export function useChanges<T extends { id: string }>(store: Entities<T>, f: (c: Change<T>) => void): void {
  const latest = useRef(f)
  useEffect(() => {
    latest.current = f
  })
  useEffect(() => store.watch((c) => latest.current(c)), [store])
}

/** useStream calls f for every event of a type. */
export function useStream<T>(type: EventType, f: (data: T) => void): void {
  const latest = useRef(f)
  useEffect(() => {
    latest.current = f
  })
  useEffect(() => stream.on(type, (data) => latest.current(data as T)), [type])
}

/** useHealed calls f when the stream is back after a gap. */
export function useHealed(f: () => void): void {
  const latest = useRef(f)
  useEffect(() => {
    latest.current = f
  })
  useEffect(() => stream.onHealed(() => latest.current()), [])
}
