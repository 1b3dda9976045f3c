import { Suspense, lazy } from 'react'

export interface Series {
  label: string
  values: (number | null)[]
  tone: 'accent' | 'busy' | 'ok' | 'warn'
}

export interface ChartProps {
  label: string
  times: number[] // seconds
  series: Series[]
  show: (v: number) => string
  height?: number
  most?: number // where the axis ends; without it, at the largest value
}

const Plot = lazy(() => import('./plot'))

/** Chart draws values over time; what draws it is loaded when there is one. */
export function Chart(props: ChartProps) {
  return (
    <Suspense fallback={<div className="skeleton" style={{ height: (props.height ?? 140) + 28 }} />}>
      <Plot {...props} />
    </Suspense>
  )
}
