import { Link, Outlet, useNavigate } from '@tanstack/react-router'
import { BookOpen, Boxes, Command, LayoutDashboard, ListChecks, type LucideIcon, ScrollText, Search, Server, Settings } from 'lucide-react'
import { Suspense, lazy, useEffect, useRef, useState } from 'react'
import { queryClient } from '@/api/queries'
import { cn } from '@/lib/cn'
import { type Shortcuts, listener } from '@/lib/keys'
import { usePrefs } from '@/lib/prefs'
import { useCan, useSession } from '@/lib/session'
import { useConnection, useHealed, useStream } from '@/live/hooks'
import { connect, disconnect } from '@/live/live'
import { Mark } from '@/ui/brand'
import { ConnectionChip } from './chip'
import { Toaster } from './toaster'

const Account = lazy(() => import('./account'))
const palette = () => import('./palette')
const Palette = lazy(palette)
const Help = lazy(() => import('./help'))

interface Page {
  to: '/' | '/nodes' | '/containers' | '/logs' | '/jobs' | '/settings'
  label: string
  icon: LucideIcon
  key: string
}

const pages: Page[] = [
  { to: '/', label: 'Overview', icon: LayoutDashboard, key: 'g o' },
  { to: '/nodes', label: 'Nodes', icon: Server, key: 'g n' },
  { to: '/containers', label: 'Containers', icon: Boxes, key: 'g c' },
  { to: '/logs', label: 'Logs', icon: ScrollText, key: 'g l' },
  { to: '/jobs', label: 'Jobs', icon: ListChecks, key: 'g j' },
  { to: '/settings', label: 'Settings', icon: Settings, key: 'g s' },
]

/** Shell is what all pages have around them. */
export function Shell() {
  const session = useSession()
  const { seeAll } = useCan()
  const navigate = useNavigate()
  const { density } = usePrefs()
  const { status } = useConnection()
  const [overlay, setOverlay] = useState<'palette' | 'help'>()
  const [used, setUsed] = useState<Record<string, boolean>>({})
  const main = useRef<HTMLElement>(null)
  const visible = pages.filter((p) => seeAll || (p.to !== '/' && p.to !== '/nodes'))

  useEffect(() => {
    connect()
    return disconnect
  }, [])
  useEffect(() => {
    // So that it is there when its keys are pressed.
    const timer = setTimeout(() => void palette(), 1_500)
    return () => clearTimeout(timer)
  }, [])
  useStream('overview', (data) => queryClient.setQueryData(['overview'], data))
  useStream('nodes', (data) => queryClient.setQueryData(['nodes'], data))
  useHealed(() => void queryClient.invalidateQueries())

  useEffect(() => {
    document.documentElement.dataset.density = density
  }, [density])

  const open = (which: 'palette' | 'help') => {
    setUsed((u) => ({ ...u, [which]: true }))
    setOverlay((o) => (o === which ? undefined : which))
  }
  const shortcuts = useRef<Shortcuts>({})
  useEffect(() => {
    shortcuts.current = {
      '/': () => document.querySelector<HTMLInputElement>('[data-search]')?.focus(),
      '?': () => open('help'),
      ...Object.fromEntries(visible.map((p) => [p.key, () => void navigate({ to: p.to })])),
    }
  })
  useEffect(() => {
    const keys = listener(() => shortcuts.current)
    const down = (e: KeyboardEvent) => {
      if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k') {
        e.preventDefault()
        open('palette')
      } else keys(e)
    }
    addEventListener('keydown', down)
    return () => removeEventListener('keydown', down)
  }, [])

  return (
    <div className="flex h-dvh flex-col md:flex-row">
      <a href="#main" onClick={(e) => { e.preventDefault(); main.current?.focus() }} className="sr-only z-50 rounded-md bg-accent-fill px-3 py-2 text-on-accent focus:not-sr-only focus:fixed focus:top-2 focus:left-2">
        Go to the content
      </a>
      <header className="flex shrink-0 flex-col border-line bg-surface max-md:border-b md:w-52 md:border-r">
        <div className="flex h-12 items-center gap-2 px-3">
          <Mark className="size-6" />
          <span className="text-base font-semibold tracking-tight">Berth</span>
          <div className="ml-auto flex items-center gap-1 md:hidden">
            <ConnectionChip />
            <Suspense fallback={<div className="size-8" />}>
              <Account session={session} compact />
            </Suspense>
          </div>
        </div>
        <button type="button" onClick={() => open('palette')} className="mx-2 mb-2 flex h-8 items-center gap-2 rounded-md border border-line bg-bg px-2 text-sm text-muted hover:border-line-strong max-md:hidden">
          <Search aria-hidden className="size-3.5" />
          Find or do
          <kbd className="ml-auto flex items-center gap-0.5 font-mono text-xs">
            <Command aria-label="Ctrl or Command" className="size-3" />K
          </kbd>
        </button>
        <nav aria-label="Pages" className="flex gap-0.5 px-2 max-md:overflow-x-auto max-md:pb-1.5 md:flex-col">
          {visible.map((p) => (
            <Link
              key={p.to}
              to={p.to}
              activeOptions={{ exact: p.to === '/', includeSearch: false }}
              title={`${p.label} (${p.key})`}
              className="flex h-8 shrink-0 items-center gap-2.5 rounded-md px-2 text-sm max-md:px-1.5 font-medium text-muted hover:bg-hover hover:text-fg aria-[current=page]:bg-selected aria-[current=page]:text-fg"
            >
              <p.icon aria-hidden className="size-4 max-md:hidden" />
              {p.label}
            </Link>
          ))}
        </nav>
        <div className="mt-auto border-t border-line p-2 max-md:hidden">
          <a href="/docs" target="_blank" rel="noreferrer" className="flex h-8 items-center gap-2.5 rounded-md px-2 text-sm text-muted hover:bg-hover hover:text-fg">
            <BookOpen aria-hidden className="size-4" /> API
          </a>
          <div className="flex h-8 items-center px-2">
            <ConnectionChip />
          </div>
          <Suspense fallback={<div className="h-10" />}>
            <Account session={session} />
          </Suspense>
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1} className={cn('min-h-0 min-w-0 flex-1 overflow-y-auto outline-none transition-[filter]', status === 'stale' && 'grayscale')}>
        <Suspense fallback={null}>
          <Outlet />
        </Suspense>
      </main>
      <Toaster />
      <Suspense fallback={null}>
        {used.palette && <Palette open={overlay === 'palette'} onClose={() => setOverlay(undefined)} onHelp={() => open('help')} pages={visible} />}
        {used.help && <Help open={overlay === 'help'} onClose={() => setOverlay(undefined)} pages={visible} />}
      </Suspense>
    </div>
  )
}
