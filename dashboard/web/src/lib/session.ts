import { useSuspenseQuery } from '@tanstack/react-query'
import { sessionQuery } from '@/api/queries'
import type { Session } from '@/api/types'

/** useSession is who is logged in. Below the shell there is always somebody. */
export function useSession(): Session {
  return useSuspenseQuery(sessionQuery).data
}

/** useCan says what the role allows: a viewer changes nothing, an admin sees the whole cluster and may set it up. */
export function useCan(): { change: boolean; admin: boolean; seeAll: boolean } {
  const { role } = useSession()
  return { change: role !== 'viewer', admin: role === 'admin', seeAll: role !== 'client' }
}
