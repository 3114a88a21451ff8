import "uplot/dist/uPlot.min.css"
import "./panel-chart.css"

import { useEffect, useMemo, useRef } from "react"
import uPlot from "uplot"

import { duration, number } from "../text/format"
import { visible } from "../text/visible"
import { useTheme } from "../theme"
import type { History } from "./history"
import type { Panel } from "./panels"
import { hasMarkers } from "./panels"

export type PanelX = "time" | "step"

const HEIGHT = 180
const TIME_STEPS_S = [
  0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200,
  86_400, 172_800, 604_800,
]
// The first of the run colours that both themes have (ui.md 1), in the order of their distance.
const COLOURS = {
  light: ["#2272b4", "#d44567", "#879f18", "#421792", "#673702", "#346d26", "#970d63", "#cb71df"],
  dark: ["#4299e0", "#ff6c8b", "#abc54b", "#7154ce", "#8b592c", "#57914a", "#c03e86", "#e7a3f7"],
}

/** A few lines of one run on one time or step axis, the cursor shared with the other panels. */
export function PanelChart({
  panel,
  histories,
  x,
  originMs,
  group,
}: {
  panel: Panel
  histories: ReadonlyMap<string, History>
  x: PanelX
  /** Where time begins, in ms. */
  originMs: number
  /** Panels of one group share the cursor. */
  group: string
}) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const theme = useTheme()
  const data = useMemo(() => aligned(panel, histories, x, originMs), [panel, histories, x, originMs])
  const latest = useRef(data)
  latest.current = data
  const rangeText = JSON.stringify(panel.range ?? null)
  const linesText = JSON.stringify(panel.lines)
  useEffect(() => {
    const into = box.current
    if (!into) return
    const style = getComputedStyle(document.documentElement)
    const colour = (name: string): string => style.getPropertyValue(name).trim()
    const axis = {
      stroke: colour("--w-text-2"),
      grid: { stroke: colour("--w-line"), width: 1 },
      ticks: { show: false },
      font: "11px -apple-system, 'Segoe UI', Roboto, Arial, sans-serif",
    }
    const lines = JSON.parse(linesText) as Panel["lines"]
    const range = JSON.parse(rangeText) as [number, number] | null
    const made = new uPlot(
      {
        width: Math.max(120, into.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        cursor: { sync: { key: group }, points: { size: 6 }, drag: { x: true, y: false } },
        scales: {
          x: { time: false },
          y: range ? { range } : { range: (_u, low, high) => padded(low, high) },
        },
        axes: [
          { ...axis, size: 28, ...(x === "time" && { incrs: TIME_STEPS_S }), values: (_u, at) => at.map((v) => (x === "time" ? duration(v * 1_000) : number(v, 4))) },
          { ...axis, size: 56, values: (_u, at) => at.map((v) => number(v, 4)) },
        ],
        series: [
          {},
          ...lines.map((line, at) => ({
            label: line.label,
            stroke: line.isLimit
              ? colour("--w-text-2")
              : (COLOURS[theme][at % COLOURS[theme].length] ?? ""),
            width: line.isLimit ? 1 : 1.5,
            ...(line.isLimit && { dash: [4, 4] }),
            points: {
              show: (u: uPlot, own: number, from: number, to: number): boolean =>
                hasMarkers(u.data[own] ?? [], from, to, line.isLimit ?? false),
              size: 5,
            },
            spanGaps: true,
          })),
        ],
        hooks: { setCursor: [(u) => showValues(u, into)] },
      },
      latest.current,
      into,
    )
    plot.current = made
    showValues(made, into)
    const sizes = new ResizeObserver(() => {
      if (into.clientWidth > 0) made.setSize({ width: into.clientWidth, height: HEIGHT })
    })
    sizes.observe(into)
    return () => {
      sizes.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [theme, x, group, linesText, rangeText])
  useEffect(() => {
    const shown = plot.current
    if (!shown || !box.current) return
    shown.setData(data)
    showValues(shown, box.current)
  }, [data])
  return (
    <figure className="w-panel">
      <figcaption>
        <span className="w-cut w-panel-title">{visible(panel.title, 250)}</span>
        {panel.unit && <span className="w-secondary">{panel.unit}</span>}
      </figcaption>
      <div ref={box} role="img" aria-label={summary(panel, histories)} className="w-panel-plot" />
      <ul className="w-panel-legend" aria-hidden="true">
        {panel.lines.map((line, at) => (
          <li key={line.key}>
            <span
              className={`w-dot${line.isLimit ? " w-dot-limit" : ""}`}
              style={
                line.isLimit
                  ? undefined
                  : { background: COLOURS[theme][at % COLOURS[theme].length] }
              }
            />
            <span className="w-cut">{visible(line.label, 120)}</span>
            <span className="w-panel-value" data-line={at + 1} />
          </li>
        ))}
      </ul>
    </figure>
  )
}

/** Write each line's value at the cursor, or its last one, beside its name. */
function showValues(u: uPlot, into: HTMLElement): void {
  const { idx } = u.cursor
  for (const cell of into.parentElement?.querySelectorAll<HTMLElement>("[data-line]") ?? []) {
    const values = u.data[Number(cell.dataset.line)] ?? []
    const value = idx === null || idx === undefined ? lastOf(values) : nearestOf(values, idx)
    cell.textContent = number(value)
  }
}

function lastOf(values: ArrayLike<number | null | undefined>): number | null {
  for (let at = values.length - 1; at >= 0; at -= 1) {
    const value = values[at]
    if (value !== null && value !== undefined) return value
  }
  return null
}

function nearestOf(values: ArrayLike<number | null | undefined>, idx: number): number | null {
  for (let at = idx; at >= 0; at -= 1) {
    const value = values[at]
    if (value !== null && value !== undefined) return value
  }
  return null
}

function padded(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1]
  if (low === high) return [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05]
  const room = (high - low) * 0.05
  return [low - room, high + room]
}

/** One x column for all lines, nulls where a line has no point there. */
function aligned(
  panel: Panel,
  histories: ReadonlyMap<string, History>,
  x: PanelX,
  originMs: number,
): uPlot.AlignedData {
  const tables = panel.lines.map((line): uPlot.AlignedData => {
    const history = histories.get(line.key)
    if (!history) return [[], []]
    const pairs = Array.from(history.value, (value, at): [number, number | null] => {
      const where = x === "time" ? (history.timeMs[at] ?? 0) - originMs : (history.step[at] ?? 0)
      return [x === "time" ? where / 1_000 : where, Number.isFinite(value) ? value : null]
    })
    // Steps may go back; a line of uPlot's may not.
    pairs.sort((a, b) => a[0] - b[0])
    return [pairs.map((pair) => pair[0]), pairs.map((pair) => pair[1])]
  })
  return tables.length === 0 ? [[]] : uPlot.join(tables)
}

function summary(panel: Panel, histories: ReadonlyMap<string, History>): string {
  const words = panel.lines.map((line) => {
    const values = [...(histories.get(line.key)?.value ?? [])].filter(Number.isFinite)
    if (values.length === 0) return `${line.label}: no values`
    let low = Number.POSITIVE_INFINITY
    let high = Number.NEGATIVE_INFINITY
    for (const value of values) {
      if (value < low) low = value
      if (value > high) high = value
    }
    return `${line.label} ${number(low, 3)} to ${number(high, 3)}, last ${number(values.at(-1), 3)}`
  })
  return visible(`${panel.title}: ${words.join("; ")}`, 500)
}
