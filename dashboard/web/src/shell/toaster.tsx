import { Link } from '@tanstack/react-router'
import { CircleCheck, CircleDashed, CircleX, Info, X } from 'lucide-react'
import { useEffect } from 'react'
import { ApiError } from '@/api/client'
import type { Job } from '@/api/types'
import { sentence } from '@/lib/format'
import { isOpen } from '@/lib/job'
import { type Toast, dismiss, useToasts } from '@/lib/toasts'
import { useJob } from '@/live/hooks'
import { IconButton } from '@/ui/button'
import { Copy } from '@/ui/copy'
import { LongText } from '@/ui/panel'

const SHOWN = 6_000

/** Toaster shows how what was just asked for goes on. What has failed stays until it is put away. */
export function Toaster() {
  const list = useToasts()
  return (
    <section aria-label="Notifications" className="pointer-events-none fixed right-3 bottom-3 z-50 flex w-[min(22rem,calc(100vw-1.5rem))] flex-col gap-2">
      {list.map((t) => (
        <Row key={t.key} toast={t} />
      ))}
    </section>
  )
}

function Row({ toast }: { toast: Toast }) {
  const job = useJob(toast.job)
  const failed = toast.error !== undefined || job?.status === 'failed'
  const open = job !== undefined && isOpen(job)
  useEffect(() => {
    if (failed || open) return undefined
    const timer = setTimeout(() => dismiss(toast.key), SHOWN)
    return () => clearTimeout(timer)
  }, [failed, open, toast.key])
  const Icon = failed ? CircleX : open ? CircleDashed : toast.job ? CircleCheck : Info
  return (
    <div role={failed ? 'alert' : 'status'} className="popup pointer-events-auto flex items-start gap-2.5 rounded-lg border border-line bg-raised p-3 shadow-pop">
      <Icon aria-hidden className={`mt-0.5 size-4 shrink-0 ${failed ? 'text-bad' : open ? 'spin text-busy' : toast.job ? 'text-ok' : 'text-muted'}`} />
      <div className="min-w-0 flex-1">
        <p className="font-medium break-words">{toast.title}</p>
        {toast.error !== undefined && <ErrorText error={toast.error} />}
        {job && <JobText job={job} />}
      </div>
      <IconButton label="Put away" onClick={() => dismiss(toast.key)}>
        <X className="size-3.5" />
      </IconButton>
    </div>
  )
}

function ErrorText({ error }: { error: unknown }) {
  const e = error as ApiError
  return (
    <>
      <LongText text={e.message} className="text-muted" />
      {e.requestId && (
        <p className="flex items-center gap-1 text-xs text-muted">
          Request <code className="truncate font-mono">{e.requestId}</code> <Copy text={e.requestId} label="Copy the request ID" />
        </p>
      )}
    </>
  )
}

function JobText({ job }: { job: Job }) {
  const step = job.steps.findLast((s) => s.status === 'failed') ?? job.steps.at(-1)
  const text = job.status === 'failed' ? `${step ? `${sentence(step.name)}: ` : ''}${job.error?.message ?? ''}` : isOpen(job) ? (step ? `${sentence(step.name)}${step.message ? `: ${step.message}` : ''}` : 'Waits for a worker') : sentence(job.status)
  return (
    <>
      <LongText text={text} className="text-muted" />
      <Link to="/jobs" search={{ open: job.id }} className="link text-xs">
        Show the job
      </Link>
    </>
  )
}
