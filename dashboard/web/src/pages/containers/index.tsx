import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { Plus } from 'lucide-react'
import { Suspense, lazy, useDeferredValue, useEffect, useState } from 'react'
import { nodesQuery } from '@/api/queries'
import { type ContainersSearch, containerStatuses } from '@/lib/search'
import { useCan } from '@/lib/session'
import { useTitle } from '@/lib/title'
import { Button } from '@/ui/button'
import { SearchField, Select } from '@/ui/field'
import { PageHead } from '@/ui/list'
import { useOnce } from '@/lib/once'
import { Table } from './table'

const Create = lazy(() => import('./create'))
const ContainerDrawer = lazy(() => import('./drawer'))

/** Containers lists all of them: searched, filtered and sorted by the server, live in their rows. */
export default function Containers() {
  useTitle('Containers')
  const search = useSearch({ from: '/shell/containers' })
  const navigate = useNavigate({ from: '/containers' })
  const queries = useQueryClient()
  const { change, seeAll } = useCan()
  const nodes = useQuery({ ...nodesQuery, enabled: seeAll })
  const set = (patch: { [K in keyof ContainersSearch]?: ContainersSearch[K] | undefined }) =>
    void navigate({ search: (s) => Object.fromEntries(Object.entries({ ...s, ...patch }).filter(([, v]) => v !== undefined && v !== '')) as ContainersSearch, replace: true })

  // What is typed shows at once; the server is asked when the typing rests.
  const [text, setText] = useState(search.q ?? '')
  const settled = useDeferredValue(text)
  useEffect(() => {
    if (settled === (search.q ?? '')) return undefined
    const timer = setTimeout(() => set({ q: settled || undefined }), 200)
    return () => clearTimeout(timer)
    // oxlint-disable-next-line react/exhaustive-deps -- only what is typed
  }, [settled])

  const drawer = useOnce(search.open !== undefined)
  const create = useOnce(change && search.create === true)
  const filter = search.unsaved ? 'unsaved' : (search.status ?? '')
  return (
    <div className="flex h-full min-h-0 flex-col p-4 max-md:p-3">
      <PageHead title="Containers">
        <SearchField label="Search containers" value={text} onChange={setText} className="w-64 max-sm:w-full" />
        <Select aria-label="State" value={filter} className="w-32" onChange={(e) => set(e.target.value === 'unsaved' ? { unsaved: true, status: undefined } : { status: (e.target.value || undefined) as ContainersSearch['status'], unsaved: undefined })}>
          <option value="">All states</option>
          {containerStatuses.map((s) => (
            <option key={s}>{s}</option>
          ))}
          <option value="unsaved">unsaved</option>
        </Select>
        {seeAll && nodes.data && nodes.data.nodes.length > 1 && (
          <Select aria-label="Node" value={search.node ?? ''} className="w-32" onChange={(e) => set({ node: e.target.value || undefined })}>
            <option value="">All nodes</option>
            {nodes.data.nodes.map((n) => (
              <option key={n.id} value={n.id}>
                {n.hostname}
              </option>
            ))}
          </Select>
        )}
        {change && (
          <Button look="primary" onClick={() => set({ create: true })}>
            <Plus aria-hidden className="size-4" /> Create
          </Button>
        )}
      </PageHead>
      <Table
        search={search}
        onSort={(sort) => set({ sort })}
        onClear={() => {
          setText('')
          set({ q: undefined, status: undefined, owner: undefined, node: undefined, unsaved: undefined })
        }}
        onCreate={change ? () => set({ create: true }) : undefined}
        nodes={nodes.data?.nodes}
      />
      <Suspense fallback={null}>
        {drawer && <ContainerDrawer id={search.open} tab={search.tab ?? 'overview'} onTab={(tab) => set({ tab: tab === 'overview' ? undefined : tab })} onClose={() => set({ open: undefined, tab: undefined })} nodes={nodes.data?.nodes} />}
        {create && (
        <Create
          open={search.create === true}
          onClose={() => set({ create: undefined })}
          onCreated={(id) => {
            void queries.invalidateQueries({ queryKey: ['containers'] })
            set({ create: undefined, open: id })
          }}
        />
        )}
      </Suspense>
    </div>
  )
}
