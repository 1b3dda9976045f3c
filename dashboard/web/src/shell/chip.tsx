import { Radio, Unplug } from 'lucide-react'
import { clock } from '@/lib/format'
import { useConnection } from '@/live/hooks'
import { Pill, type Tone } from '@/ui/status'

/** ConnectionChip says whether what the page shows is new. */
export function ConnectionChip() {
  const c = useConnection()
  const [tone, text]: [Tone, string] =
    c.status === 'live'
      ? ['ok', 'Live']
      : c.status === 'stale'
        ? ['bad', `Stale since ${clock(c.heard)}`]
        : c.status === 'connecting'
          ? ['idle', 'Connecting']
          : ['warn', 'Reconnecting']
  return (
    <span role="status" aria-live="polite">
      <Pill tone={tone}>
        {tone === 'ok' ? <Radio aria-hidden className="size-3" /> : <Unplug aria-hidden className="size-3" />}
        {text}
      </Pill>
    </span>
  )
}
