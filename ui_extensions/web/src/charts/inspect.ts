/**
 * `window.__weirCharts()`: what the charts on the page have drawn, for tests to hold against what
 * MLflow's client returns. It reads; nothing can be changed by it.
 */

import { allCharts } from "./line-chart"
import { seriesStore } from "../data/series-store"
import { hoverState } from "./hover"
import { Painter } from "./painter"

export interface DrawnLine {
  runId: string
  key: string
  isVisible: boolean
  colour: string
  /** Buckets that were painted; -1 for a line that is not on the page. */
  painted: number
  x: number[]
  low: number[]
  high: number[]
  last: number[]
  count: number[]
  total: number
  /** What smoothing makes of it; null where it is off or under way. */
  smoothed: number[] | null
}

export interface DrawnChart {
  name: string
  isComplete: boolean
  /** Lines on the page. */
  nDrawn: number
  paintedAt: number
  x: { min: number; max: number; kind: string }
  y: { min: number; max: number; kind: string }
  lines: DrawnLine[]
}

function inspect(withValues = true): {
  charts: DrawnChart[]
  counts: { requests: number; points: number; bytes: number; paints: number }
  raised: string | null
  hoverX: number | null
} {
  const charts = [...allCharts()].map((chart): DrawnChart => {
    const { x, y } = chart.scales
    const drawn = chart.painter.drawn
    return {
      name: chart.name,
      isComplete: chart.painter.isComplete,
      nDrawn: drawn.size,
      paintedAt: chart.paintedAt,
      x: { min: x.min, max: x.max, kind: x.kind },
      y: { min: y.min, max: y.max, kind: y.kind },
      lines: !withValues
        ? []
        : chart.state.lines.map((line) => {
            const { curve } = line
            const plus = (values: ArrayLike<number>): number[] =>
              Array.from(values, (value) => value + curve.offset)
            return {
              runId: line.runId,
              key: line.key,
              isVisible: line.isVisible,
              colour: line.colour,
              painted: drawn.get(line.id) ?? -1,
              x: Array.from(curve.x),
              low: plus(curve.low),
              high: plus(curve.high),
              last: plus(curve.last),
              count: Array.from(curve.count ?? []),
              total: curve.total,
              smoothed: line.smoothed && Array.from(line.smoothed),
            }
          }),
    }
  })
  return {
    charts,
    counts: { ...seriesStore.counts, paints: Painter.paints },
    raised: hoverState.raised,
    hoverX: hoverState.hover.x,
  }
}

declare global {
  interface Window {
    __weirCharts?: typeof inspect
  }
}

window.__weirCharts = inspect
