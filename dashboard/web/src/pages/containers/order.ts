import type { Container } from '@/api/types'
import type { ContainersSearch } from '@/lib/search'
import type { Change } from '@/live/entities'

/** matches says whether a container may be in the list. Text is the server's to compare: there, whatever is new may be. */
export function matches(c: Container, s: ContainersSearch): boolean {
  if (s.unsaved) return c.unsaved === true
  return (!s.status || c.status === s.status) && (!s.owner || c.owner === s.owner) && (!s.node || c.node === s.node)
}

/** moves counts what changes the list's order or length: containers that come into it, leave it, or are gone. What changes
 * in a row only is shown there. Of containers that this tab had not seen before, only new ones count: the list knows when
 * they were made. */
export function moves(change: Change<Container>, s: ContainersSearch, since: number): number {
  let n = 0
  for (const { before, after } of change.changed.values()) {
    if (!after) n += before && matches(before, s) ? 1 : 0
    else if (!before) n += matches(after, s) && Date.parse(after.createdAt) >= since ? 1 : 0
    else if (matches(before, s) !== matches(after, s)) n++
  }
  return n
}
