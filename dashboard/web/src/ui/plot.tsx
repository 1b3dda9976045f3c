import { useEffect, useRef, useState } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { cn } from '@/lib/cn'
import { clock } from '@/lib/format'
import { usePrefs } from '@/lib/prefs'
import { useMedia } from '@/lib/media'
import type { ChartProps, Series } from './chart'

/** Plot draws values over time. The same values are in a table, for those who cannot see it or want the numbers. */
export default function Plot({ label, times, series, show, height = 140, most }: ChartProps) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const [table, setTable] = useState(false)
  const [at, setAt] = useState<number>()
  const { theme } = usePrefs()
  const dark = useMedia('(prefers-color-scheme: dark)')
  const names = series.map((s) => s.label).join()
  const latest = useRef({ times, series, show })
  useEffect(() => {
    latest.current = { times, series, show }
  })

  useEffect(() => {
    const el = box.current
    if (!el || table) return undefined
    const style = getComputedStyle(el)
    const colour = (name: string) => resolve(el, `var(--${name})`)
    const now = latest.current
    const font = `11px ${style.fontFamily}`
    const u = new uPlot(
      {
        width: Math.max(120, el.clientWidth),
        height,
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        padding: [6, 18, 0, 0],
        scales: { x: { time: true }, y: { range: (_, low, high) => (most === undefined ? [Math.min(0, low ?? 0), Math.max(high ?? 1, 1e-9) * 1.1] : [0, Math.max(most, high ?? 0)]) } },
        axes: [
          { stroke: colour('muted'), font, grid: { show: false }, ticks: { show: false }, size: 22, space: 60, values: (_, v) => v.map((t) => clock(t * 1_000)) },
          { stroke: colour('muted'), font, grid: { stroke: colour('line'), width: 1 }, ticks: { show: false }, size: 52, space: 34, values: (_, v) => v.map((x) => latest.current.show(x)) },
        ],
        series: [{}, ...now.series.map((s) => ({ label: s.label, stroke: colour(s.tone), width: 1.5, fill: fade(colour(s.tone)), points: { show: false } }))],
        hooks: { setCursor: [(p) => setAt(p.cursor.idx ?? undefined)] },
      },
      data(now.times, now.series),
      el,
    )
    plot.current = u
    const sized = new ResizeObserver(() => u.setSize({ width: Math.max(120, el.clientWidth), height }))
    sized.observe(el)
    return () => {
      sized.disconnect()
      u.destroy()
      plot.current = undefined
    }
  }, [height, most, names, theme, dark, table])
  useEffect(() => plot.current?.setData(data(times, series)), [times, series])

  const index = at ?? times.length - 1
  return (
    <figure className="min-w-0">
      <figcaption className="mb-1 flex flex-wrap items-center gap-x-3 gap-y-1 text-xs text-muted">
        <span className="sr-only">{label}</span>
        {series.map((s) => (
          <span key={s.label} className="inline-flex items-center gap-1.5">
            <span aria-hidden className={cn('h-0.5 w-3 rounded', tones[s.tone])} />
            {s.label}
            <span className="num text-fg">{typeof s.values[index] === 'number' ? show(s.values[index]) : '–'}</span>
          </span>
        ))}
        {at !== undefined && times[at] !== undefined && <span className="num">{clock(times[at] * 1_000)}</span>}
        <button type="button" aria-pressed={table} onClick={() => setTable(!table)} className="ml-auto inline-flex h-6 items-center rounded px-1 hover:text-fg">
          {table ? 'Chart' : 'Table'}
        </button>
      </figcaption>
      {table ? <Numbers label={label} times={times} series={series} show={show} height={height} /> : <div ref={box} aria-hidden style={{ height }} className="overflow-hidden" />}
    </figure>
  )
}

const tones = { accent: 'bg-accent', busy: 'bg-busy', ok: 'bg-ok', warn: 'bg-warn' }

const data = (times: number[], series: Series[]): uPlot.AlignedData => [times, ...series.map((s) => s.values)]

// A canvas knows no variables and no light-dark(): the browser says what they come to.
function resolve(el: HTMLElement, value: string): string {
  const probe = document.createElement('span')
  probe.style.color = value
  el.append(probe)
  const colour = getComputedStyle(probe).color
  probe.remove()
  return colour
}

const fade = (colour: string): string => colour.replace(/^rgb\(([^)]+)\)$/, 'rgba($1, 0.08)')

function Numbers({ label, times, series, show, height }: ChartProps & { height: number }) {
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls
    <div tabIndex={0} role="region" aria-label={`${label}: table`} className="overflow-auto" style={{ height }}>
      <table className="num w-full text-left text-xs">
        <caption className="sr-only">{label}</caption>
        <thead className="sticky top-0 bg-surface text-muted">
          <tr>
            <th scope="col" className="py-1 font-medium">Time</th>
            {series.map((s) => (
              <th key={s.label} scope="col" className="py-1 font-medium">{s.label}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {times.map((t, i) => (
            <tr key={t} className="border-t border-line">
              <th scope="row" className="py-0.5 font-normal text-muted">{clock(t * 1_000)}</th>
              {series.map((s) => (
                <td key={s.label}>{typeof s.values[i] === 'number' ? show(s.values[i]) : '–'}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
