import createClient from 'openapi-fetch'
import type { Problem } from './types'
import type { paths } from './schema'

/** ApiError is an answer that is no success, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId: string | undefined,
    readonly details: unknown,
    readonly retryAfter: number | undefined,
  ) {
    super(message)
    this.name = 'ApiError'
  }
}

let onUnauthenticated = () => {}

/** whenUnauthenticated is told that the session has ended. */
export function whenUnauthenticated(f: () => void): void {
  onUnauthenticated = f
}

/** api is the client of our own API, typed by its document. The session's cookie goes with every call. */
export const api = createClient<paths>({ baseUrl: location.origin, credentials: 'same-origin' })

type Answer<T> = { data?: T; error?: unknown; response: Response }

/** call gives what an operation answers, or throws an ApiError. */
export async function call<T>(answer: Promise<Answer<T>>): Promise<T> {
  let got: Answer<T>
  try {
    got = await answer
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new ApiError(0, 'NO_ANSWER', 'The server does not answer.', undefined, undefined, undefined)
  }
  if (got.response.ok) return got.data as T
  throw problem(got.response, got.error)
}

function problem(response: Response, body: unknown): ApiError {
  const error = (body as { error?: Problem } | undefined)?.error
  if (response.status === 401) onUnauthenticated()
  const after = Number(response.headers.get('Retry-After'))
  return new ApiError(
    response.status,
    error?.code ?? 'NO_ANSWER',
    error?.message ?? `The server answered ${response.status}.`,
    response.headers.get('X-Request-ID') ?? undefined,
    error?.details,
    after > 0 ? after : undefined,
  )
}

/** asApiError is an error of whatever kind, for showing it. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new ApiError(0, 'ERROR', message, undefined, undefined, undefined)
}
