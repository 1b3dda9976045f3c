import { Link } from '@tanstack/react-router'
import { setPref, usePrefs } from '@/lib/prefs'
import { useLines } from '@/live/uselines'
import { Checkbox } from '@/ui/field'
import { LogView } from '@/ui/logview'

/** ContainerLogs is what a container prints, now. */
export function ContainerLogs({ id }: { id: string }) {
  const lines = useLines({ container: id, tail: 200 })
  const { wrap, times } = usePrefs()
  return (
    <div className="flex h-[calc(100dvh-13rem)] min-h-64 flex-col gap-2">
      <div className="flex items-center gap-4">
        <Checkbox label="Wrap" checked={wrap} onChange={(e) => setPref('wrap', e.target.checked)} />
        <Checkbox label="Times" checked={times} onChange={(e) => setPref('times', e.target.checked)} />
        <Link to="/logs" search={{ container: id }} className="link ml-auto text-xs">
          Filter it on the Logs page
        </Link>
      </div>
      <LogView lines={lines} wrap={wrap} times={times} empty="It has printed nothing yet." className="flex-1 rounded-lg border border-line" />
    </div>
  )
}
