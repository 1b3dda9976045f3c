/** Topics counts what the pages want from the stream, and says it as the stream's query. */
export interface LogFilter {
  container?: string | undefined
  node?: string | undefined
  level?: string | undefined
  q?: string | undefined
  tail?: number | undefined
}

/** streamQuery is the query of GET /api/dashboard/stream for these topics, in one order, so that equal wishes are equal. */
export function streamQuery(topics: Iterable<string>, logs?: LogFilter): string {
  const set = new Set(topics)
  if (logs) set.add('logs')
  const query = new URLSearchParams({ topics: [...set].toSorted().join(',') })
  if (logs)
    for (const key of ['container', 'node', 'level', 'q', 'tail'] as const) {
      const value = logs[key]
      if (value !== undefined && value !== '') query.set(key, String(value))
    }
  return query.toString()
}
