import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { Ellipsis, ExternalLink, Play, RotateCw, Square } from 'lucide-react'
import { useState } from 'react'
import * as actions from '@/actions/containers'
import { menuFor } from '@/actions/menu'
import { ApiError } from '@/api/client'
import { containerQuery } from '@/api/queries'
import type { Container, Node } from '@/api/types'
import { containerTabs } from '@/lib/search'
import { useCan } from '@/lib/session'
import { useContainer } from '@/live/hooks'
import { Button, IconButton, buttonStyle } from '@/ui/button'
import { Copy } from '@/ui/copy'
import { Menu } from '@/ui/menu'
import { Confirm, Drawer, type Question } from '@/ui/overlay'
import { Empty, Problem, Skeleton } from '@/ui/panel'
import { Tabs } from '@/ui/tabs'
import { Access } from './access'
import { Details } from './details'
import { ContainerLogs } from './logs'
import { MoveDialog } from './move'
import { StatusOf } from './row'
import { History } from './history'
import { Workspace } from './workspace'

type TabId = (typeof containerTabs)[number]

const tabs: { id: TabId; label: string }[] = [
  { id: 'overview', label: 'Overview' },
  { id: 'timeline', label: 'Timeline' },
  { id: 'logs', label: 'Logs' },
  { id: 'workspace', label: 'Workspace' },
  { id: 'access', label: 'Access' },
]

interface DrawerProps {
  id: string | undefined
  tab: TabId
  onTab: (t: TabId) => void
  onClose: () => void
  nodes: Node[] | undefined
}

/** ContainerDrawer shows one container: what it is, what happened to it, and what can be done. */
export default function ContainerDrawer({ id, tab, onTab, onClose, nodes }: DrawerProps) {
  const [shown, setShown] = useState(id)
  if (id !== undefined && id !== shown) setShown(id)
  const query = useQuery({ ...containerQuery(shown ?? ''), enabled: id !== undefined })
  const c = useContainer(shown)
  const { change, seeAll } = useCan()
  // Credentials are the owner's and an admin's, no viewer's.
  const visible = change ? tabs : tabs.filter((t) => t.id !== 'access')
  const at = visible.some((t) => t.id === tab) ? tab : 'overview'
  return (
    <Drawer
      open={id !== undefined}
      onClose={onClose}
      title={
        <>
          <span className="truncate font-mono">{shown}</span>
          {shown && <Copy text={shown} label="Copy the ID" />}
          {c && <StatusOf c={c} />}
        </>
      }
      header={
        c && (
          <>
            <Actions c={c} change={change} nodes={seeAll ? nodes : undefined} onLogs={() => onTab('logs')} />
            <Tabs label="Parts" tabs={visible} value={at} onChange={onTab} className="px-3" />
          </>
        )
      }
    >
      {c ? (
        <div role="tabpanel" aria-label={visible.find((t) => t.id === at)?.label} className="min-h-full p-4">
          {at === 'overview' && <Details c={c} nodes={nodes} />}
          {at === 'timeline' && <History c={c} />}
          {at === 'logs' && <ContainerLogs id={c.id} />}
          {at === 'workspace' && <Workspace c={c} />}
          {at === 'access' && <Access c={c} />}
        </div>
      ) : query.isSuccess || query.error ? (
        query.isSuccess || (query.error instanceof ApiError && query.error.status === 404) ? (
          <Empty title={`There is no container ${shown}`}>
            <p>It was deleted, or it is another key's.</p>
          </Empty>
        ) : (
          <Problem error={query.error} retry={() => void query.refetch()} className="m-4" />
        )
      ) : (
        <div className="p-4">
          <Skeleton lines={8} />
        </div>
      )}
    </Drawer>
  )
}

function Actions({ c, change, nodes, onLogs }: { c: Container; change: boolean; nodes: Node[] | undefined; onLogs: () => void }) {
  const [question, setQuestion] = useState<Question>()
  const [moving, setMoving] = useState(false)
  const navigate = useNavigate()
  return (
    <div className="flex flex-wrap items-center gap-2 px-4 pb-2">
      {c.status === 'running' && (
        <a href={c.urls.codeServer} target="_blank" rel="noreferrer" className={buttonStyle({ look: 'primary' })}>
          <ExternalLink aria-hidden className="size-4" /> Open code-server
        </a>
      )}
      {change && (c.status === 'stopped' || c.status === 'failed') && (
        <Button look="primary" onClick={() => void actions.start(c.id)}>
          <Play aria-hidden className="size-4" /> Start
        </Button>
      )}
      {change && c.status === 'running' && (
        <Button onClick={() => void actions.restart(c.id)}>
          <RotateCw aria-hidden className="size-4" /> Restart
        </Button>
      )}
      {change && (c.status === 'running' || c.status === 'starting') && (
        <Button onClick={() => void actions.stop(c.id)}>
          <Square aria-hidden className="size-4" /> Stop
        </Button>
      )}
      <Menu
        label="More actions"
        trigger={
          <IconButton label="More actions" look="secondary" size="iconMd">
            <Ellipsis className="size-4" />
          </IconButton>
        }
        items={[
          ...menuFor(c, change, { ask: setQuestion, logs: onLogs, move: nodes && nodes.length > 1 ? () => setMoving(true) : undefined }),
          { label: 'Show it on the Logs page', run: () => void navigate({ to: '/logs', search: { container: c.id } }) },
        ]}
      />
      <Confirm question={question} onClose={() => setQuestion(undefined)} />
      <MoveDialog id={moving ? c.id : undefined} nodes={nodes} onClose={() => setMoving(false)} />
    </div>
  )
}
