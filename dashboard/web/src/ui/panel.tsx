import type { LucideIcon } from 'lucide-react'
import { TriangleAlert } from 'lucide-react'
import type { ReactNode } from 'react'
import { asApiError } from '@/api/client'
import { cn } from '@/lib/cn'
import { Button } from './button'
import { Copy } from './copy'

/** Panel is a titled box of a page. */
export function Panel({ title, aside, children, className, flush }: { title?: ReactNode; aside?: ReactNode; children: ReactNode; className?: string; flush?: boolean }) {
  return (
    <section className={cn('min-w-0 rounded-lg border border-line bg-surface', className)}>
      {(title || aside) && (
        <header className="flex min-h-10 items-center gap-2 border-b border-line px-3 py-1.5">
          <h2 className="text-sm font-semibold">{title}</h2>
          {aside && <div className="ml-auto flex items-center gap-1">{aside}</div>}
        </header>
      )}
      <div className={flush ? undefined : 'p-3'}>{children}</div>
    </section>
  )
}

/** Empty says that there is nothing yet, and what to do about it. */
export function Empty({ icon: Icon, title, children }: { icon?: LucideIcon; title: string; children?: ReactNode }) {
  return (
    <div className="flex flex-col items-center gap-2 px-4 py-12 text-center text-muted">
      {Icon && (
        <span className="mb-1 grid size-10 place-items-center rounded-full bg-idle-soft">
          <Icon aria-hidden className="size-5" />
        </span>
      )}
      <p className="text-base font-medium text-fg">{title}</p>
      {children}
    </div>
  )
}

/** Problem is a failure in the place of what failed: the sentence, the request's ID, and another try. */
export function Problem({ error, retry, what, className, bare }: { error: unknown; retry?: () => void; what?: string; className?: string; bare?: boolean }) {
  const e = asApiError(error)
  return (
    <div role="alert" className={cn('flex items-start gap-2.5', !bare && 'rounded-md border border-line bg-bad-soft p-3', className)}>
      <TriangleAlert aria-hidden className="mt-0.5 size-4 shrink-0 text-bad" />
      <div className="min-w-0 flex-1">
        {what && <p className="font-medium">{what}</p>}
        <LongText text={e.message} />
        <Details details={e.details} />
        {e.requestId && (
          <p className="mt-1 flex items-center gap-1 text-xs text-muted">
            Request <code className="truncate font-mono">{e.requestId}</code> <Copy text={e.requestId} label="Copy the request ID" />
          </p>
        )}
      </div>
      {retry && (
        <Button size="sm" onClick={retry}>
          Retry
        </Button>
      )}
    </div>
  )
}

// Details lists what VALIDATION_FAILED says of each place.
function Details({ details }: { details: unknown }) {
  if (!Array.isArray(details)) return null
  const lines = details.filter((d): d is { location?: string; message: string } => typeof d?.message === 'string')
  if (lines.length === 0) return null
  return (
    <ul className="mt-1 list-disc pl-4 text-xs text-muted">
      {lines.map((d) => (
        <li key={`${d.location}${d.message}`}>
          {d.location && <code className="font-mono">{d.location}</code>} {d.message}
        </li>
      ))}
    </ul>
  )
}

/** LongText is a message of any length: what is over a few lines scrolls. */
export function LongText({ text, className }: { text: string; className?: string }) {
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls has to be reached by keyboard
    <p tabIndex={text.length > 400 ? 0 : undefined} className={cn('max-h-40 overflow-auto break-words whitespace-pre-wrap', className)}>
      {text}
    </p>
  )
}

/** Skeleton stands where something is loaded for the first time. */
export function Skeleton({ className = 'h-4', lines = 1 }: { className?: string; lines?: number }) {
  return (
    <div aria-hidden className="space-y-2.5">
      {Array.from({ length: lines }, (_, i) => (
        <div key={i} className={cn('skeleton', className)} />
      ))}
    </div>
  )
}
