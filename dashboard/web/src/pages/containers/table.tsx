import { useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useVirtualizer } from '@tanstack/react-virtual'
import { ArrowDown, ArrowUp, Boxes, Plus, SearchX } from 'lucide-react'
import { Suspense, lazy, useCallback, useEffect, useRef, useState } from 'react'
import { menuFor } from '@/actions/menu'
import type { Node } from '@/api/types'
import { cn } from '@/lib/cn'
import { count } from '@/lib/format'
import { listener } from '@/lib/keys'
import { useMedia } from '@/lib/media'
import { useOnce } from '@/lib/once'
import { usePrefs } from '@/lib/prefs'
import type { ContainersSearch } from '@/lib/search'
import { useCan } from '@/lib/session'
import { useChanges, useContainer } from '@/live/hooks'
import { containers } from '@/live/live'
import { Button } from '@/ui/button'
import { Confirm, type Question } from '@/ui/overlay'
import { Empty, Problem } from '@/ui/panel'
import { Bulk } from './bulk'
import { columns } from './columns'
import { MoveDialog } from './move'
import { moves } from './order'
import { useRows } from './pages'
import { Row } from './row'

const SKEW = 300_000 // by which the clocks of browser and server may differ

const RowMenu = lazy(() => import('@/ui/menu').then((m) => ({ default: m.Menu })))

interface TableProps {
  search: ContainersSearch
  onSort: (sort: ContainersSearch['sort']) => void
  onClear: () => void
  onCreate: (() => void) | undefined
  nodes: Node[] | undefined
}

/** Table draws the rows that are in sight, of however many there are. */
export function Table({ search, onSort, onClear, onCreate, nodes }: TableProps) {
  const { change } = useCan()
  const { density } = usePrefs()
  const small = useMedia('(max-width: 767px)')
  const height = small ? 56 : density === 'compact' ? 32 : 40
  const navigate = useNavigate({ from: '/containers' })
  const queries = useQueryClient()
  const scroller = useRef<HTMLDivElement>(null)
  const [range, setRange] = useState({ first: 0, last: 0 })
  const rows = useRows(search, range.first, range.last)
  const virtual = useVirtualizer({
    count: rows.total,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 8,
    onChange: (v) => {
      const r = v.range
      if (r) setRange((old) => (old.first === r.startIndex && old.last === r.endIndex ? old : { first: r.startIndex, last: r.endIndex }))
    },
  })
  useEffect(() => virtual.measure(), [height, virtual])
  useEffect(() => {
    scroller.current?.scrollTo({ top: 0 })
  }, [rows.key])

  // A list does not move under the pointer: what would change its order waits for a press there, and is applied else.
  const [waiting, setWaiting] = useState(0)
  const over = useRef(false)
  const since = useRef(Date.now())
  const apply = useCallback(() => {
    setWaiting(0)
    since.current = Date.now()
    void queries.invalidateQueries({ queryKey: ['containers'] })
  }, [queries])
  useChanges(containers, (c) => {
    const n = moves(c, search, since.current - SKEW)
    if (n > 0) setWaiting((w) => w + n)
  })
  useEffect(() => {
    if (waiting === 0) return undefined
    const timer = setTimeout(() => !over.current && apply(), 400)
    return () => clearTimeout(timer)
  }, [waiting, apply])

  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const lastChosen = useRef<string>(undefined)
  const loaded = useRef<string[]>([])
  useEffect(() => {
    loaded.current = rows.loaded
  })
  const choose = useCallback((id: string, on: boolean, ranged: boolean) => {
    const from = ranged && lastChosen.current ? loaded.current.indexOf(lastChosen.current) : -1
    const to = loaded.current.indexOf(id)
    const ids = from >= 0 && to >= 0 ? loaded.current.slice(Math.min(from, to), Math.max(from, to) + 1) : [id]
    lastChosen.current = id
    setChosen((s) => {
      const next = new Set(s)
      for (const x of ids)
        if (on) next.add(x)
        else next.delete(x)
      return next
    })
  }, [])

  const [current, setCurrent] = useState(-1)
  const [menu, setMenu] = useState<{ id: string; anchor: HTMLElement }>()
  const [question, setQuestion] = useState<Question>()
  const [moving, setMoving] = useState<string>()
  const onMenu = useCallback((id: string, anchor: HTMLElement) => setMenu({ id, anchor }), [])
  const nodeName = useCallback((id: string | undefined) => nodes?.find((n) => n.id === id)?.hostname ?? id?.slice(0, 8) ?? '–', [nodes])

  useEffect(() => {
    const go = (to: number) => {
      const next = Math.min(Math.max(0, to), rows.total - 1)
      setCurrent(next)
      virtual.scrollToIndex(next)
      requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`[data-row="${next}"] [data-open]`)?.focus())
    }
    const keys = listener(() => ({
      j: () => go(current + 1),
      k: () => go(current - 1),
      x: () => {
        const id = rows.at(current)
        if (id && change) choose(id, !chosen.has(id), false)
      },
    }))
    addEventListener('keydown', keys)
    return () => removeEventListener('keydown', keys)
  })

  const filtered = Boolean(search.q || search.status || search.owner || search.node || search.unsaved)
  const chosenMenu = useContainer(menu?.id)
  const usedMenu = useOnce(menu !== undefined)
  return (
    <div
      className="flex min-h-0 flex-1 flex-col rounded-lg border border-line bg-surface"
      onPointerEnter={() => (over.current = true)}
      onPointerLeave={() => {
        over.current = false
        if (waiting > 0) apply()
      }}
    >
      {rows.error !== undefined && rows.error !== null && <Problem what="The list could not be read." error={rows.error} retry={() => void queries.refetchQueries({ queryKey: ['containers'] })} className="m-2" />}
      {chosen.size > 0 && <Bulk ids={chosen} onDone={() => setChosen(new Set())} ask={setQuestion} />}
      <div ref={scroller} className="relative min-h-0 flex-1 overflow-auto rounded-lg" tabIndex={-1}>
        <div role="table" aria-label="Containers" aria-rowcount={rows.total + 1} aria-busy={rows.first}>
          <div role="rowgroup" className="sticky top-0 z-10 rounded-t-lg border-b border-line bg-surface">
            <div role="row" aria-rowindex={1} className="flex h-9 items-center pr-1 text-xs font-medium text-muted">
              {change && <div role="columnheader" className="w-9 shrink-0"><span className="sr-only">Choose</span></div>}
              {columns.map((c, i) => (
                <Header key={c.id} column={c} sort={search.sort} onSort={onSort} className={cn(i === 0 && (change ? 'pl-0' : 'pl-3'))} />
              ))}
              <div role="columnheader" className="w-8 shrink-0"><span className="sr-only">Actions</span></div>
            </div>
          </div>
          <div role="rowgroup" className="relative" style={{ height: rows.first ? 12 * height : virtual.getTotalSize() }}>
            {rows.first
              ? Array.from({ length: 12 }, (_, i) => (
                  <div key={i} aria-hidden className="flex items-center border-b border-line px-3" style={{ height }}>
                    <div className="skeleton h-4 w-full max-w-4xl" />
                  </div>
                ))
              : virtual.getVirtualItems().map((v) => {
                  const id = rows.at(v.index)
                  return <Row key={v.key} id={id} index={v.index} top={v.start} height={height} chosen={id !== undefined && chosen.has(id)} current={v.index === current} choose={change ? choose : undefined} menu={onMenu} nodeName={nodeName} />
                })}
          </div>
        </div>
        {!rows.first && rows.total === 0 && !rows.error &&
          (filtered ? (
            <Empty icon={SearchX} title="No container matches">
              <Button onClick={onClear}>Show all</Button>
            </Empty>
          ) : (
            <Empty icon={Boxes} title="There is no container yet">
              <p>A container is a workspace with code-server, a desktop and a web server of its own.</p>
              {onCreate && (
                <Button look="primary" onClick={onCreate} className="mt-2">
                  <Plus aria-hidden className="size-4" /> Create your first container
                </Button>
              )}
            </Empty>
          ))}
      </div>
      <footer className="flex min-h-9 items-center gap-3 border-t border-line px-3 text-xs text-muted">
        <span className="num" role="status">{rows.first ? 'Loading' : count(rows.total, 'container')}</span>
        {waiting > 0 && (
          <Button size="sm" look="primary" onClick={apply} className="ml-auto">
            Order changed, apply
          </Button>
        )}
      </footer>
      <Suspense fallback={null}>
        {usedMenu && (
          <RowMenu
            label="Actions"
            open={menu !== undefined}
            anchor={menu?.anchor ?? null}
            onClose={() => setMenu(undefined)}
            items={
              chosenMenu
                ? menuFor(chosenMenu, change, {
                    ask: setQuestion,
                    logs: () => void navigate({ search: (s) => ({ ...s, open: chosenMenu.id, tab: 'logs' }) }),
                    move: nodes && nodes.length > 1 ? () => setMoving(chosenMenu.id) : undefined,
                  })
                : []
            }
          />
        )}
      </Suspense>
      <Confirm question={question} onClose={() => setQuestion(undefined)} />
      <MoveDialog id={moving} nodes={nodes} onClose={() => setMoving(undefined)} />
    </div>
  )
}

function Header({ column, sort, onSort, className }: { column: (typeof columns)[number]; sort: ContainersSearch['sort']; onSort: (s: ContainersSearch['sort']) => void; className: string }) {
  const up = sort === column.sort
  const down = sort === `-${column.sort}`
  const next = down ? column.sort : up || !column.sort ? undefined : (`-${column.sort}` as const)
  return (
    <div role="columnheader" aria-sort={column.sort ? (up ? 'ascending' : down ? 'descending' : 'none') : undefined} className={cn('px-2', column.class, className)}>
      {column.sort ? (
        <button type="button" onClick={() => onSort(next)} className="-mx-1 inline-flex h-6 items-center gap-1 rounded px-1 hover:text-fg">
          {column.label}
          {up && <ArrowUp aria-hidden className="size-3" />}
          {down && <ArrowDown aria-hidden className="size-3" />}
        </button>
      ) : (
        column.label
      )}
    </div>
  )
}
