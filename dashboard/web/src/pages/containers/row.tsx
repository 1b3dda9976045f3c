import { Link } from '@tanstack/react-router'
import { Code, Ellipsis, Globe, Monitor, TriangleAlert } from 'lucide-react'
import { memo } from 'react'
import { cn } from '@/lib/cn'
import { bytes, sentence } from '@/lib/format'
import { isOpen } from '@/lib/job'
import { useContainer, useJob } from '@/live/hooks'
import type { Container } from '@/api/types'
import { IconButton } from '@/ui/button'
import { Share } from '@/ui/meter'
import { Pill, Status } from '@/ui/status'
import { Age } from '@/ui/time'
import { columns } from './columns'

interface RowProps {
  id: string | undefined
  index: number
  top: number
  height: number
  chosen: boolean
  current: boolean
  choose: ((id: string, on: boolean, range: boolean) => void) | undefined
  menu: (id: string, anchor: HTMLElement) => void
  nodeName: (id: string | undefined) => string
}

const cell = Object.fromEntries(columns.map((c) => [c.id, cn('px-2', c.class)]))

/** Row is a container in the list. It is drawn again only when its own container changes. */
export const Row = memo(function Row({ id, index, top, height, chosen, current, choose, menu, nodeName }: RowProps) {
  const c = useContainer(id)
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      aria-selected={choose ? chosen : undefined}
      data-row={index}
      className={cn('group absolute inset-x-0 flex items-center border-b border-line pr-1', chosen ? 'bg-selected' : current ? 'bg-hover' : 'hover:bg-hover')}
      style={{ height, transform: `translateY(${top}px)` }}
    >
      {choose && (
        <div role="cell" className="grid w-9 shrink-0 place-items-center self-stretch">
          {c && (
            <input
              type="checkbox"
              aria-label={`Choose ${c.id}`}
              checked={chosen}
              onChange={() => {}}
              onClick={(e) => choose(c.id, !chosen, e.shiftKey)}
              className="size-4 accent-accent-fill"
            />
          )}
        </div>
      )}
      {c ? <Cells c={c} padded={!choose} nodeName={nodeName} menu={menu} /> : <div role="cell" className="skeleton mx-3 h-4 flex-1" />}
    </div>
  )
})

function Cells({ c, padded, nodeName, menu }: { c: Container; padded: boolean; nodeName: RowProps['nodeName']; menu: RowProps['menu'] }) {
  const usage = usageOf(c)
  return (
    <>
      <div role="cell" className={cn(cell.name, padded ? 'pl-3' : 'pl-0', 'flex items-baseline gap-x-2.5 overflow-hidden max-md:flex-col')}>
        <Link data-open from="/containers" to="/containers" search={(s) => ({ ...s, open: c.id })} className="shrink-0 font-mono font-medium hover:underline">
          {c.id}
        </Link>
        <span title={workspace(c)} className="max-w-full truncate text-muted max-md:text-xs">
          {workspace(c)}
        </span>
      </div>
      <div role="cell" className={cn(cell.status, 'flex items-center gap-1 overflow-hidden')}>
        <StatusOf c={c} />
      </div>
      <div role="cell" className={cn(cell.node, 'truncate text-muted')}>
        {c.node ? nodeName(c.node) : '–'}
      </div>
      <div role="cell" title={c.owner} className={cn(cell.owner, 'truncate text-muted')}>
        {c.owner}
      </div>
      <div role="cell" className={cell.cpu}>
        <Share label="CPU of its limit" value={usage?.cpu} />
      </div>
      <div role="cell" className={cell.memory}>
        <Share label="Memory of its limit" value={usage?.memoryPercent} text={bytes(usage?.memory)} />
      </div>
      <div role="cell" className={cn(cell.activity, 'text-muted')}>
        <Age at={c.idle?.lastActivity ?? c.lastActivity} />
      </div>
      <div role="cell" className={cn(cell.age, 'text-muted')}>
        <Age at={c.createdAt} />
      </div>
      <div role="cell" className={cn(cell.links, 'flex')}>
        {c.status === 'running' && <Urls c={c} />}
      </div>
      <div role="cell" className="w-8 shrink-0">
        <IconButton label={`Actions for ${c.id}`} aria-haspopup="menu" onClick={(e) => menu(c.id, e.currentTarget)}>
          <Ellipsis className="size-4" />
        </IconButton>
      </div>
    </>
  )
}

export const workspace = (c: Container) => `${c.s3Bucket}${c.s3Prefix ? `/${c.s3Prefix}` : ''}`

export const usageOf = (c: Container) => (c.status === 'running' || c.status === 'stopping' ? c.resourceUsage : undefined)

/** StatusOf is a container's state; while a job is at it, with the step that runs. */
export function StatusOf({ c }: { c: Container }) {
  const job = useJob(c.jobId)
  const step = job && isOpen(job) ? job.steps.at(-1) : undefined
  const moving = c.status === 'starting' || c.status === 'stopping'
  return (
    <>
      <Status state={c.status} label={step && moving ? `${c.status}: ${sentence(step.name).toLowerCase()}` : c.status} />
      {c.unsaved && (
        <Pill tone="warn" title="Its node holds files that could not be saved">
          <TriangleAlert aria-hidden className="size-3" />
          <span className="max-md:sr-only">unsaved</span>
        </Pill>
      )}
      {c.status === 'running' && c.health?.status === 'unhealthy' && (
        <Pill tone="bad" title={`Does not answer: ${silent(c)}`}>
          <TriangleAlert aria-hidden className="size-3" />
          <span className="sr-only">unhealthy</span>
        </Pill>
      )}
    </>
  )
}

export const silent = (c: Container): string =>
  [!c.health?.checks.codeServer && 'code-server', !c.health?.checks.vnc && 'the desktop', !c.health?.checks.webServer && 'the web server'].filter(Boolean).join(', ')

const urls = [
  ['codeServer', 'code-server', Code],
  ['vnc', 'Desktop', Monitor],
  ['webServer', 'Web server', Globe],
] as const

export function Urls({ c }: { c: Container }) {
  return urls.map(([key, label, Icon]) => (
    <a key={key} href={c.urls[key]} target="_blank" rel="noreferrer" aria-label={`${label} of ${c.id}`} title={label} className="grid size-7 place-items-center rounded-md text-muted hover:bg-raised hover:text-fg">
      <Icon aria-hidden className="size-4" />
    </a>
  ))
}

