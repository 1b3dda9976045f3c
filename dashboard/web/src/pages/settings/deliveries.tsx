import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Inbox, RotateCw } from 'lucide-react'
import { api, call } from '@/api/client'
import { deliveriesQuery } from '@/api/queries'
import type { Delivery, Webhook } from '@/api/types'
import { count, dateTime, span } from '@/lib/format'
import { useCan } from '@/lib/session'
import { attempt } from '@/lib/toasts'
import { Button } from '@/ui/button'
import { Drawer } from '@/ui/overlay'
import { Empty, LongText, Problem, Skeleton } from '@/ui/panel'
import { Status } from '@/ui/status'
import { Ago } from '@/ui/time'

/** DeliveriesDrawer shows what a webhook was told, every attempt, and what came back. */
export function DeliveriesDrawer({ hook, open, onClose }: { hook: Webhook | undefined; open: boolean; onClose: () => void }) {
  const list = useQuery({ ...deliveriesQuery(hook?.id ?? ''), enabled: open && hook !== undefined })
  return (
    <Drawer open={open} onClose={onClose} title={<span className="truncate font-mono">{hook?.url ?? 'Webhook'}</span>}>
      {!hook ? (
        <Empty title="There is no such webhook" />
      ) : list.isPending ? (
        <div className="p-4">
          <Skeleton lines={6} />
        </div>
      ) : list.error ? (
        <Problem error={list.error} retry={() => void list.refetch()} className="m-4" />
      ) : list.data.deliveries.length === 0 ? (
        <Empty icon={Inbox} title="Nothing was delivered yet">
          <p>What happens from now on shows here, with every attempt.</p>
        </Empty>
      ) : (
        <>
          <p className="px-4 pt-3 text-xs text-muted">{count(list.data.total, 'delivery', 'deliveries')}</p>
          <ul className="divide-y divide-line">
            {list.data.deliveries.map((d) => (
              <Row key={d.id} hook={hook.id} delivery={d} />
            ))}
          </ul>
        </>
      )}
    </Drawer>
  )
}

function Row({ hook, delivery: d }: { hook: string; delivery: Delivery }) {
  const { change } = useCan()
  const queries = useQueryClient()
  const again = () =>
    attempt(
      'Deliver again',
      async () => {
        await call(api.POST('/api/webhooks/{id}/deliveries/{delivery}/redeliver', { params: { path: { id: hook, delivery: d.id } } }))
        await queries.invalidateQueries({ queryKey: ['deliveries', hook] })
      },
      'It is delivered again',
    )
  return (
    <li className="px-4 py-2.5">
      <div className="flex flex-wrap items-center gap-2">
        <code className="font-mono font-medium">{d.type}</code>
        <Status state={d.status} />
        <span className="text-xs text-muted">
          <Ago at={d.at} />
          {d.nextAttemptAt && (
            <>
              , tried again <Ago at={d.nextAttemptAt} />
            </>
          )}
        </span>
        {change && d.status !== 'waiting' && (
          <Button size="sm" className="ml-auto" onClick={() => void again()}>
            <RotateCw aria-hidden className="size-3.5" /> Again
          </Button>
        )}
      </div>
      <details className="mt-1">
        <summary className="inline-flex min-h-6 cursor-pointer items-center text-xs text-muted hover:text-fg">{count(d.attemptCount, 'attempt')}, payload</summary>
        <ol className="mt-1 space-y-1">
          {d.attempts.map((a) => (
            <li key={a.at} className="rounded bg-sunken px-2 py-1 text-xs">
              <p className="flex gap-2">
                <span className={a.status && a.status < 300 ? 'text-ok' : 'text-bad'}>{a.status ?? 'no answer'}</span>
                <span className="num text-muted">{span(a.seconds)}</span>
                <span className="num ml-auto text-muted">{dateTime(a.at)}</span>
              </p>
              {a.error && <LongText text={a.error} className="text-bad" />}
              {a.answer && <LongText text={a.answer} className="font-mono text-muted" />}
            </li>
          ))}
        </ol>
        {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls */}
        <pre tabIndex={0} className="mt-1 max-h-64 overflow-auto rounded bg-sunken p-2 font-mono text-xs">
          {JSON.stringify(d.payload, null, 2)}
        </pre>
        <p className="mt-1 font-mono text-xs text-muted">{d.messageId}</p>
      </details>
    </li>
  )
}
