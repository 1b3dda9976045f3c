import { useQuery } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { Download, X } from 'lucide-react'
import { useEffect, useState } from 'react'
import { nodesQuery } from '@/api/queries'
import { setPref, usePrefs } from '@/lib/prefs'
import { type LogsSearch, logLevels } from '@/lib/search'
import { useCan } from '@/lib/session'
import { useTitle } from '@/lib/title'
import { say } from '@/lib/toasts'
import type { Line, Lines } from '@/live/lines'
import { useLines } from '@/live/uselines'
import { Button } from '@/ui/button'
import { copyText } from '@/ui/copy'
import { Checkbox, Input, SearchField, Select } from '@/ui/field'
import { PageHead } from '@/ui/list'
import { LogView } from '@/ui/logview'

/** Logs are the lines of all containers and of the control plane, as they come; the server filters. */
export default function Logs() {
  useTitle('Logs')
  const search = useSearch({ from: '/shell/logs' })
  const navigate = useNavigate({ from: '/logs' })
  const { seeAll } = useCan()
  const nodes = useQuery({ ...nodesQuery, enabled: seeAll })
  const { wrap, times } = usePrefs()
  const { line, ...filter } = search
  const lines = useLines({ ...filter, tail: line ? 2_000 : 500 })
  const set = (patch: { [K in keyof LogsSearch]?: LogsSearch[K] | undefined }) =>
    void navigate({ search: (s) => Object.fromEntries(Object.entries({ ...s, line: undefined, ...patch }).filter(([, v]) => v !== undefined && v !== '')) as LogsSearch, replace: true })
  const filtered = Object.keys(filter).length > 0
  const names = new Map(nodes.data?.nodes.map((n) => [n.id, n.hostname]))
  return (
    <div className="flex h-full min-h-0 flex-col p-4 max-md:p-3">
      <PageHead title="Logs">
        <Typed label="Search lines" value={search.q ?? ''} onChange={(q) => set({ q })} find />
        <Typed label="Container" value={search.container ?? ''} onChange={(container) => set({ container })} />
        {seeAll && (
          <Select aria-label="Node" value={search.node ?? ''} className="w-32" onChange={(e) => set({ node: e.target.value })}>
            <option value="">All nodes</option>
            {nodes.data?.nodes.map((n) => (
              <option key={n.id} value={n.id}>
                {n.hostname}
              </option>
            ))}
          </Select>
        )}
        <Select aria-label="Level" value={search.level ?? ''} className="w-32" onChange={(e) => set({ level: (e.target.value || undefined) as LogsSearch['level'] })}>
          <option value="">All levels</option>
          {logLevels.slice(1).map((l) => (
            <option key={l} value={l}>
              {l === 'error' ? 'error' : `${l} and above`}
            </option>
          ))}
        </Select>
        {filtered && (
          <Button look="ghost" onClick={() => void navigate({ search: {}, replace: true })}>
            <X aria-hidden className="size-4" /> Clear
          </Button>
        )}
      </PageHead>
      <LogView
        lines={lines}
        wrap={wrap}
        times={times}
        marked={line}
        from={search.container ? undefined : whose}
        linkTo={(l) => {
          const url = new URL(location.href)
          url.searchParams.set('line', l.id)
          void copyText(url.href).then(() => say('The link to the line is copied'))
        }}
        empty={filtered ? 'No line matches. New ones that do show here as they come.' : 'Nothing was printed yet. Lines show here as they come.'}
        className="min-h-0 flex-1 rounded-lg border border-line"
      />
      <footer className="flex flex-wrap items-center gap-4 pt-2 text-xs text-muted">
        <Checkbox label="Wrap" checked={wrap} onChange={(e) => setPref('wrap', e.target.checked)} />
        <Checkbox label="Times" checked={times} onChange={(e) => setPref('times', e.target.checked)} />
        <Button size="sm" look="ghost" className="ml-auto" onClick={() => download(lines, names)}>
          <Download aria-hidden className="size-3.5" /> Download what is here
        </Button>
      </footer>
    </div>
  )
}

const whose = (l: Line): string => l.containerId ?? l.source

function Typed({ label, value, onChange, find }: { label: string; value: string; onChange: (v: string | undefined) => void; find?: boolean }) {
  const [text, setText] = useState(value)
  const [from, setFrom] = useState(value)
  if (value !== from) {
    setFrom(value)
    setText(value)
  }
  useEffect(() => {
    if (text === value) return undefined
    const timer = setTimeout(() => onChange(text.trim() || undefined), 300)
    return () => clearTimeout(timer)
    // oxlint-disable-next-line react/exhaustive-deps -- only what is typed
  }, [text])
  return find ? (
    <SearchField label={label} value={text} onChange={setText} className="w-56 max-sm:w-full" />
  ) : (
    <Input aria-label={label} placeholder={label} value={text} maxLength={64} spellCheck={false} autoComplete="off" onChange={(e) => setText(e.target.value)} className="w-40 font-mono" />
  )
}

// download gives what is in the buffer, one line of text a line.
function download(lines: Lines, nodes: Map<string, string>): void {
  const text = [...lines.shown].map((l) => `${l.at} ${l.level} ${nodes.get(l.nodeId ?? '') ?? l.nodeId ?? '-'} ${l.containerId ?? l.source} ${l.text}\n`)
  const url = URL.createObjectURL(new Blob(text, { type: 'text/plain' }))
  const a = document.createElement('a')
  a.href = url
  a.download = `berth-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.log`
  a.click()
  URL.revokeObjectURL(url)
}
