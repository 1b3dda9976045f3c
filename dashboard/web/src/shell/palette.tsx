import { Dialog } from '@base-ui/react/dialog'
import { useNavigate } from '@tanstack/react-router'
import { useQuery } from '@tanstack/react-query'
import { Command } from 'cmdk'
import { Box, CircleHelp, ListChecks, type LucideIcon, Moon, Plus, Search, Server, Sun } from 'lucide-react'
import { useDeferredValue, useState } from 'react'
import { api, call } from '@/api/client'
import { nodesQuery } from '@/api/queries'
import { setPref } from '@/lib/prefs'
import { useCan } from '@/lib/session'
import { containers } from '@/live/live'

interface Props {
  open: boolean
  onClose: () => void
  onHelp: () => void
  pages: { to: '/' | '/nodes' | '/containers' | '/logs' | '/jobs' | '/settings'; label: string; icon: LucideIcon; key: string }[]
}

/** Palette goes everywhere and does the usual things, by a few letters. */
export default function Palette({ open, onClose, onHelp, pages }: Props) {
  return (
    <Dialog.Root open={open} onOpenChange={(o) => !o && onClose()}>
      <Dialog.Portal keepMounted>
        <Dialog.Backdrop className="backdrop fixed inset-0 z-40 bg-[rgb(10_11_15/45%)]" />
        <Dialog.Popup className="modal fixed top-[12vh] left-1/2 z-50 w-[calc(100vw-2rem)] max-w-xl -translate-x-1/2 overflow-hidden rounded-xl border border-line bg-raised shadow-pop outline-none">
          <Dialog.Title className="sr-only">Find or do</Dialog.Title>
          {open && <Body onClose={onClose} onHelp={onHelp} pages={pages} />}
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  )
}

function Body({ onClose, onHelp, pages }: Omit<Props, 'open'>) {
  const navigate = useNavigate()
  const { change, seeAll } = useCan()
  const [text, setText] = useState('')
  const q = useDeferredValue(text.trim())
  const nodes = useQuery({ ...nodesQuery, enabled: seeAll })
  const found = useQuery({
    queryKey: ['palette', q],
    enabled: q.length > 0,
    queryFn: async ({ signal }) => (await call(api.GET('/api/containers', { params: { query: { limit: 8, q } as { limit: number } }, signal }))).containers,
  })
  const go = (f: () => void) => () => {
    onClose()
    f()
  }
  const known = found.data ?? [...containers.values()].slice(0, 5)
  return (
    <Command label="Find or do" loop>
      <div className="flex items-center gap-2 border-b border-line px-3">
        <Search aria-hidden className="size-4 text-muted" />
        {/* oxlint-disable-next-line jsx-a11y/no-autofocus -- it is what the palette is for */}
        <Command.Input autoFocus value={text} onValueChange={setText} placeholder="Find a container, a node, a page; or do something" className="h-11 flex-1 bg-transparent text-base outline-none placeholder:text-muted" />
      </div>
      <Command.List className="max-h-[50vh] overflow-y-auto p-1.5">
        <Command.Empty className="px-3 py-8 text-center text-muted">Nothing is called so.</Command.Empty>
        <Group heading="Pages">
          {pages.map((p) => (
            <Row key={p.to} icon={p.icon} label={p.label} hint={p.key} run={go(() => void navigate({ to: p.to }))} />
          ))}
        </Group>
        <Group heading="Do">
          {change && <Row icon={Plus} label="Create a container" run={go(() => void navigate({ to: '/containers', search: { create: true } }))} />}
          <Row icon={ListChecks} label="Show failed jobs" run={go(() => void navigate({ to: '/jobs', search: { status: 'failed' } }))} />
          <Row icon={Sun} label="Light theme" run={go(() => setPref('theme', 'light'))} />
          <Row icon={Moon} label="Dark theme" run={go(() => setPref('theme', 'dark'))} />
          <Row icon={CircleHelp} label="Keys" hint="?" run={go(onHelp)} />
        </Group>
        {known.length > 0 && (
          <Group heading="Containers">
            {known.map((c) => (
              <Row key={c.id} icon={Box} label={`${c.id}  ${c.s3Bucket}${c.s3Prefix ? `/${c.s3Prefix}` : ''}`} value={`${c.id} ${c.s3Bucket} ${c.s3Prefix ?? ''} ${c.owner} ${q}`} hint={c.status} run={go(() => void navigate({ to: '/containers', search: { open: c.id } }))} />
            ))}
          </Group>
        )}
        {nodes.data && (
          <Group heading="Nodes">
            {nodes.data.nodes.slice(0, 50).map((n) => (
              <Row key={n.id} icon={Server} label={n.hostname} value={`${n.hostname} ${n.address} ${n.id}`} hint={n.state} run={go(() => void navigate({ to: '/nodes', search: { open: n.id } }))} />
            ))}
          </Group>
        )}
      </Command.List>
    </Command>
  )
}

const Group = ({ heading, children }: { heading: string; children: React.ReactNode }) => (
  <Command.Group heading={heading} className="[&_[cmdk-group-heading]]:px-2 [&_[cmdk-group-heading]]:pt-2 [&_[cmdk-group-heading]]:pb-1 [&_[cmdk-group-heading]]:text-xs [&_[cmdk-group-heading]]:font-medium [&_[cmdk-group-heading]]:text-muted">
    {children}
  </Command.Group>
)

function Row({ icon: Icon, label, value, hint, run }: { icon: LucideIcon; label: string; value?: string; hint?: string; run: () => void }) {
  return (
    <Command.Item value={value ?? label} onSelect={run} className="flex min-h-9 cursor-default items-center gap-2.5 rounded-md px-2 data-[selected=true]:bg-selected">
      <Icon aria-hidden className="size-4 shrink-0 text-muted" />
      <span className="min-w-0 flex-1 truncate">{label}</span>
      {hint && <span className="text-xs text-muted">{hint}</span>}
    </Command.Item>
  )
}
