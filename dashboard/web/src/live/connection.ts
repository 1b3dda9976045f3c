/** Times of the connection, in milliseconds. The server beats every 5 s. */
export const BEAT_MISSED = 7_500
export const STALE_AFTER = 10_000
const RETRIES = [500, 1_000, 2_000, 5_000]

/** Connection is what the page knows of its stream. */
export interface Connection {
  status: 'connecting' | 'live' | 'reconnecting' | 'stale'
  heard: number // when the server last said anything; 0 is never
  attempt: number // tries since it was last live
}

export interface Signal {
  type: 'heard' | 'lost' | 'tick'
  at: number
}

export const unconnected: Connection = { status: 'connecting', heard: 0, attempt: 0 }

/** next is the state of a connection after a signal. */
export function next(c: Connection, s: Signal): Connection {
  switch (s.type) {
    case 'heard':
      return { status: 'live', heard: s.at, attempt: 0 }
    case 'lost': {
      const tried = { ...c, attempt: c.attempt + 1 }
      return { ...tried, status: quiet(tried, s.at) }
    }
    case 'tick':
      if (c.status === 'live' && s.at - c.heard < BEAT_MISSED) return c
      return quiet(c, s.at) === c.status ? c : { ...c, status: quiet(c, s.at) }
  }
}

function quiet(c: Connection, at: number): Connection['status'] {
  if (c.heard === 0) return c.attempt > 0 ? 'reconnecting' : 'connecting'
  return at - c.heard >= STALE_AFTER ? 'stale' : 'reconnecting'
}

/** retryIn is how long to wait before a try, with up to a quarter of it by chance so that tabs do not come all at once. */
export function retryIn(attempt: number, chance = Math.random()): number {
  const base = RETRIES[Math.min(Math.max(attempt, 1), RETRIES.length) - 1] as number
  return base * (1 + chance / 4)
}
