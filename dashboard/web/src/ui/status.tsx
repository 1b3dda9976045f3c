import { Ban, Check, CircleAlert, CircleDashed, CirclePause, Clock, Moon, Play, RotateCw, Square, TriangleAlert, Wrench, X } from 'lucide-react'
import type { LucideIcon } from 'lucide-react'
import type { ReactNode } from 'react'
import { cn } from '@/lib/cn'

export type Tone = 'ok' | 'warn' | 'bad' | 'busy' | 'idle'

const tones: Record<Tone, string> = {
  ok: 'bg-ok-soft text-ok',
  warn: 'bg-warn-soft text-warn',
  bad: 'bg-bad-soft text-bad',
  busy: 'bg-busy-soft text-busy',
  idle: 'bg-idle-soft text-muted',
}

// How a state looks: by sign and word as well as by colour.
const looks: Record<string, [Tone, LucideIcon]> = {
  starting: ['busy', CircleDashed],
  running: ['ok', Play],
  stopping: ['busy', CircleDashed],
  stopped: ['idle', Square],
  failed: ['bad', X],
  queued: ['idle', Clock],
  retrying: ['warn', RotateCw],
  succeeded: ['ok', Check],
  canceled: ['idle', Ban],
  ready: ['ok', Check],
  active: ['ok', Check],
  down: ['bad', X],
  unknown: ['warn', CircleAlert],
  disconnected: ['bad', X],
  stale: ['warn', Clock],
  drain: ['warn', Moon],
  pause: ['warn', CirclePause],
  paused: ['warn', CirclePause],
  waiting: ['busy', Clock],
  delivered: ['ok', Check],
  disabled: ['bad', Ban],
  ok: ['ok', Check],
  degraded: ['bad', TriangleAlert],
  healthy: ['ok', Check],
  unhealthy: ['bad', TriangleAlert],
  error: ['bad', X],
  warn: ['warn', TriangleAlert],
  maintenance: ['warn', Wrench],
}

export function toneOf(state: string): Tone {
  return looks[state]?.[0] ?? 'idle'
}

/** Status says a state in a pill. A running job turns, a running container does not: moving says so. */
export function Status({ state, label, moving, className }: { state: string; label?: string; moving?: boolean; className?: string }) {
  const [tone, Icon] = looks[state] ?? (['idle', CircleAlert] as const)
  const turns = moving ?? (state === 'starting' || state === 'stopping')
  return (
    <Pill tone={moving ? 'busy' : tone} className={className}>
      {moving ? <CircleDashed aria-hidden className="spin size-3" /> : <Icon aria-hidden className={cn('size-3', turns && 'spin')} strokeWidth={2.5} />}
      {label ?? state}
    </Pill>
  )
}

export function Pill({ tone = 'idle', className, children, title }: { tone?: Tone; className?: string | undefined; children: ReactNode; title?: string }) {
  return (
    <span title={title} className={cn('inline-flex h-5 shrink-0 items-center gap-1 rounded-full px-2 text-xs font-medium whitespace-nowrap', tones[tone], className)}>
      {children}
    </span>
  )
}
