import { Check, CircleDashed, X } from 'lucide-react'
import type { Job, Step } from '@/api/types'
import { cn } from '@/lib/cn'
import { isOpen } from '@/lib/job'
import { count, sentence, span } from '@/lib/format'
import { LongText } from './panel'
import { Status } from './status'
import { Ago, Since } from './time'

/** Timeline is a job's steps, with how long each took, over all attempts. */
export function Timeline({ job }: { job: Job }) {
  return (
    <ol className="relative space-y-0">
      {job.steps.map((step, i) => {
        const before = job.steps[i - 1]
        const first = job.attempt > 1 && step.name !== 'queue' && (before?.attempt !== step.attempt || before.name === 'queue')
        return <StepRow key={`${step.attempt}-${step.name}-${step.startedAt}`} step={step} heading={first ? `Attempt ${step.attempt}` : undefined} last={i === job.steps.length - 1} longest={longest(job)} />
      })}
    </ol>
  )
}

const longest = (job: Job) => Math.max(0.001, ...job.steps.map((s) => s.seconds ?? 0))

function StepRow({ step, heading, last, longest: most }: { step: Step; heading: string | undefined; last: boolean; longest: number }) {
  return (
    <li className="relative pl-7">
      {!last && <span aria-hidden className="absolute top-6 bottom-0 left-[9px] w-px bg-line" />}
      {heading && <p className="pt-2 text-xs font-medium text-muted">{heading}</p>}
      <div className="relative flex min-h-7 items-center gap-2 py-1">
        <span className={cn('absolute -left-7 grid size-[19px] place-items-center rounded-full', step.status === 'done' ? 'bg-ok-soft text-ok' : step.status === 'failed' ? 'bg-bad-soft text-bad' : 'bg-busy-soft text-busy')}>
          {step.status === 'done' ? <Check aria-hidden className="size-3" strokeWidth={3} /> : step.status === 'failed' ? <X aria-hidden className="size-3" strokeWidth={3} /> : <CircleDashed aria-hidden className="spin size-3" />}
        </span>
        <span className="font-medium">{sentence(step.name)}</span>
        <span className="sr-only">{step.status}</span>
        <span aria-hidden className="ml-auto h-1 w-24 overflow-hidden rounded-full max-sm:hidden">
          <span className="block h-full rounded-full bg-line-strong/50" style={{ width: `${((step.seconds ?? 0) / most) * 100}%` }} />
        </span>
        <span className="num w-16 shrink-0 text-right text-xs text-muted max-sm:ml-auto">{step.seconds === undefined ? <Since at={step.startedAt} /> : span(step.seconds)}</span>
      </div>
      {step.message && <LongText text={step.message} className={cn('pb-1.5 text-xs', step.status === 'failed' ? 'text-bad' : 'text-muted')} />}
    </li>
  )
}

/** JobHead says in a line what a job does and how far it is. */
export function JobHead({ job }: { job: Job }) {
  return (
    <div className="flex flex-wrap items-center gap-2">
      <span className="font-medium">{sentence(job.function)}</span>
      <JobStatus job={job} />
      <span className="text-xs text-muted">
        <Ago at={job.queuedAt} />
        {job.attempt > 1 && `, ${count(job.attempt, 'attempt')} of ${job.maxAttempts}`}
      </span>
    </div>
  )
}

export function JobStatus({ job }: { job: Job }) {
  const step = job.steps.at(-1)
  const label = isOpen(job) && job.status !== 'queued' && step ? `${job.status}: ${sentence(step.name).toLowerCase()}` : job.status
  return <Status state={job.status} label={label} moving={job.status === 'running'} />
}
