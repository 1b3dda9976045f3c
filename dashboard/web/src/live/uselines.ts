import { useEffect, useState } from 'react'
import { useStream } from './hooks'
import { type Line, Lines } from './lines'
import { wantLogs } from './live'
import type { LogFilter } from './topics'

/** useLines adds lines to the tab's stream while its component is shown, and gives them. Another filter begins anew. */
export function useLines(filter: LogFilter): Lines {
  const [lines] = useState(() => new Lines())
  const key = JSON.stringify(filter)
  useEffect(() => {
    lines.clear()
    wantLogs(JSON.parse(key) as LogFilter)
    return () => wantLogs(undefined)
  }, [key, lines])
  useStream<Line[]>('logs', (batch) => lines.add(batch))
  useStream<{ count?: number }>('dropped', (d) => lines.drop(d?.count ?? 0))
  return lines
}
