import { useVirtualizer } from '@tanstack/react-virtual'
import { Link2 } from 'lucide-react'
import { memo, useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from 'react'
import { ansi } from '@/lib/ansi'
import { cn } from '@/lib/cn'
import { count, dateTime, logTime } from '@/lib/format'
import type { Line, Lines } from '@/live/lines'
import { Button } from './button'

const HEIGHT = 20

interface LogViewProps {
  lines: Lines
  wrap: boolean
  times: boolean
  marked?: string | undefined // the line that the URL names
  from?: ((l: Line) => string) | undefined // says whose line it is; without it, it stands in the heading
  linkTo?: ((l: Line) => void) | undefined
  empty: string
  className?: string
}

/** LogView shows lines as they come. It follows the end; scrolling up pauses, coming back to the end goes on. */
export function LogView({ lines, wrap, times, marked, from, linkTo, empty, className }: LogViewProps) {
  const version = useSyncExternalStore(lines.subscribe, lines.version)
  const scroller = useRef<HTMLDivElement>(null)
  const above = useRef(0)
  const { length, first } = lines.shown
  const virtual = useVirtualizer({
    count: length,
    getScrollElement: () => scroller.current,
    estimateSize: () => HEIGHT,
    getItemKey: (i) => lines.shown.first + i,
    overscan: 12,
    paddingEnd: 4,
  })
  useEffect(() => virtual.measure(), [wrap, virtual])
  useLayoutEffect(() => {
    const el = scroller.current
    if (!el || lines.paused) return
    el.scrollTop = el.scrollHeight
    above.current = el.scrollTop
  }, [version, wrap, lines])

  const [found, setFound] = useState<string>()
  useEffect(() => {
    if (!marked || found === marked) return
    for (let i = 0; i < length; i++)
      if (lines.shown.at(i)?.id === marked) {
        setFound(marked)
        lines.pause()
        virtual.scrollToIndex(i, { align: 'center' })
        return
      }
  }, [marked, found, length, lines, virtual])

  return (
    <div className={cn('relative flex min-h-0 flex-col', className)}>
      <div
        ref={scroller}
        role="log"
        aria-live="off"
        aria-label="Log lines"
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls by keyboard
        tabIndex={0}
        className="min-h-0 flex-1 overflow-auto rounded-lg bg-surface font-mono text-xs leading-5 -outline-offset-2"
        onScroll={(e) => {
          const el = e.currentTarget
          const up = el.scrollTop < above.current - 4
          above.current = el.scrollTop
          const toEnd = el.scrollHeight - el.scrollTop - el.clientHeight
          if (up && toEnd > HEIGHT) lines.pause()
          else if (lines.paused && toEnd < 2 && lines.waiting === 0 && !up) lines.resume()
        }}
      >
        {length === 0 && <p className="p-6 text-center font-sans text-sm text-muted">{empty}</p>}
        <div className={cn('relative', !wrap && 'w-max min-w-full')} style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((v) => {
            const line = lines.shown.at(Number(v.key) - first)
            return (
              line && (
                <div
                  key={v.key}
                  data-index={v.index}
                  ref={wrap ? virtual.measureElement : undefined}
                  className={cn('group absolute top-0 left-0 flex min-w-full items-start gap-3 px-3 hover:bg-hover', wrap ? 'w-full' : 'h-5 whitespace-pre', line.id === marked && 'bg-selected')}
                  style={{ transform: `translateY(${v.start}px)` }}
                >
                  <LineText line={line} times={times} wrap={wrap} from={from} linkTo={linkTo} />
                </div>
              )
            )
          })}
        </div>
      </div>
      {lines.paused && (
        <div className="absolute inset-x-0 bottom-3 flex justify-center">
          <Button look="primary" size="sm" className="shadow-pop" onClick={() => lines.resume()}>
            Paused, {lines.waiting.toLocaleString('en')} new, resume
          </Button>
        </div>
      )}
      {lines.dropped > 0 && (
        <p role="status" className="border-t border-line bg-warn-soft px-3 py-1 text-xs text-warn">
          {count(lines.dropped, 'line')} came faster than they could be sent, and are left out here.
        </p>
      )}
    </div>
  )
}

const levels = {
  debug: ['D', 'text-muted'],
  info: ['I', 'text-busy'],
  warn: ['W', 'text-warn'],
  error: ['E', 'text-bad'],
} as const

const LineText = memo(function LineText({ line, times, wrap, from, linkTo }: { line: Line; times: boolean; wrap: boolean } & Pick<LogViewProps, 'from' | 'linkTo'>) {
  const [sign, tone] = levels[line.level] ?? levels.info
  return (
    <>
      {times && (
        <time dateTime={line.at} title={dateTime(line.at)} className="shrink-0 text-muted select-none">
          {logTime(line.at)}
        </time>
      )}
      <span title={line.level} className={cn('w-2 shrink-0 font-semibold select-none', tone)}>
        {sign}
      </span>
      {from && <span className="w-28 shrink-0 truncate text-muted max-sm:w-20">{from(line)}</span>}
      <span className={cn('min-w-0', wrap ? 'flex-1 break-words whitespace-pre-wrap' : 'whitespace-pre', line.level === 'error' && 'text-bad', line.level === 'debug' && 'text-muted')}>
        {ansi(line.text).map((s, i) => (
          // oxlint-disable-next-line react/no-array-index-key -- the pieces of a line do not move
          <span key={i} className={s.class}>
            {s.text}
          </span>
        ))}
      </span>
      {linkTo && (
        <button type="button" tabIndex={-1} aria-label="Copy a link to this line" title="Copy a link to this line" onClick={() => linkTo(line)} className="sticky right-2 ml-auto hidden size-5 shrink-0 place-items-center rounded bg-raised text-muted group-hover:grid hover:text-fg">
          <Link2 aria-hidden className="size-3.5" />
        </button>
      )}
    </>
  )
})
