import type { ContainersSearch } from '@/lib/search'

/** Sort is what the server can sort by, without a direction. */
export type Sort = Exclude<NonNullable<ContainersSearch['sort']>, `-${string}`>

/** Columns of the list, by what they are sorted by; those with no name of the server's cannot be. */
export interface Column {
  id: string
  label: string
  sort?: Sort
  class: string
}

export const columns: Column[] = [
  { id: 'name', label: 'Container', sort: 'id', class: 'min-w-0 flex-[2_1_12rem] max-md:flex-[1_1_0]' },
  { id: 'status', label: 'Status', sort: 'status', class: 'w-44 shrink-0 max-md:w-32' },
  { id: 'node', label: 'Node', sort: 'node', class: 'w-28 shrink-0 max-lg:hidden' },
  { id: 'owner', label: 'Owner', sort: 'owner', class: 'w-28 shrink-0 max-lg:hidden' },
  { id: 'cpu', label: 'CPU', sort: 'cpu', class: 'w-24 shrink-0 max-md:hidden' },
  { id: 'memory', label: 'Memory', sort: 'memory', class: 'w-32 shrink-0 max-md:hidden' },
  { id: 'activity', label: 'Last used', class: 'w-20 shrink-0 max-xl:hidden' },
  { id: 'age', label: 'Age', sort: 'created', class: 'w-16 shrink-0 max-xl:hidden' },
  { id: 'links', label: 'Open', class: 'w-24 shrink-0 max-xl:hidden' },
]
