import "uplot/dist/uPlot.min.css"
import "./panel-chart.css"

import type { HTMLAttributes } from "react"
import { useEffect, useMemo, useRef } from "react"
import uPlot from "uplot"

import { duration, number } from "../text/format"
import { visible } from "../text/visible"
import { useTheme } from "../theme"
import type { Band } from "./bands"
import type { History, PanelX } from "./history"
import type { Panel } from "./panels"
import { hasMarkers } from "./panels"

const HEIGHT = 180
const STRIP_PX = 4
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
  height = HEIGHT,
  bands = NO_BANDS,
  markMs = null,
  onPick,
}: {
  panel: Panel
  histories: ReadonlyMap<string, History>
  x: PanelX
  /** Where time begins, in ms. */
  originMs: number
  /** Panels of one group share the cursor. */
  group: string
  height?: number
  /** Shown behind the lines where x is the time. */
  bands?: readonly Band[]
  /** A moment that is marked, in ms; x is the time. */
  markMs?: number | null
  /** A moment was clicked, or gone to by the arrow keys. */
  onPick?: (atMs: number) => void
}) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const theme = useTheme()
  const data = useMemo(() => aligned(panel, histories, x, originMs), [panel, histories, x, originMs])
  const latest = useRef(data)
  latest.current = data
  const behind = useRef({ bands, markMs, originMs, onPick })
  behind.current = { bands, markMs, originMs, onPick }
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
        height,
        legend: { show: false },
        cursor: { sync: { key: group }, points: { size: 6 }, drag: { x: true, y: false } },
        scales: {
          x: { time: false },
          y: {
            range: (_u, low, high) =>
              range
                ? [Math.min(range[0], low ?? range[0]), Math.max(range[1], high ?? range[1])]
                : padded(low, high),
          },
        },
        axes: [
          { ...axis, size: 28, ...(x === "time" && { incrs: TIME_STEPS_S }), values: (_u, at) => at.map((v) => (x !== "time" ? number(v, 4) : v === 0 ? "0" : duration(v * 1_000))) },
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
        hooks: {
          setCursor: [(u) => showValues(u, into)],
          drawClear: [(u) => x === "time" && drawBands(u, behind.current, colour)],
          draw: [(u) => x === "time" && drawMark(u, behind.current, colour)],
        },
      },
      latest.current,
      into,
    )
    plot.current = made
    showValues(made, into)
    const onClick = (event: MouseEvent): void => {
      const { onPick: pick, originMs: zero } = behind.current
      if (!pick) return
      const left = event.clientX - made.over.getBoundingClientRect().left
      pick(zero + made.posToVal(left, "x") * 1_000)
    }
    made.over.addEventListener("click", onClick)
    const sizes = new ResizeObserver(() => {
      if (into.clientWidth > 0) made.setSize({ width: into.clientWidth, height })
    })
    sizes.observe(into)
    return () => {
      sizes.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [theme, x, group, height, linesText, rangeText])
  useEffect(() => plot.current?.redraw(false), [bands, markMs])
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
      <div
        ref={box}
        {...(onPick ? sliderOf(data, originMs, markMs, onPick) : { role: "img" })}
        aria-label={summary(panel, histories)}
        className="w-panel-plot"
        style={{ height }}
      />
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

const NO_BANDS: readonly Band[] = []

interface Behind {
  readonly bands: readonly Band[]
  readonly markMs: number | null
  readonly originMs: number
}

const TONES: Record<Band["tone"], string> = {
  before: "--w-text-2",
  steps: "--w-ok",
  after: "--w-text-off",
  validation: "--w-primary",
  throttled: "--w-warn",
}

/** Phases as a strip along the top, with a line where one ends; slowed-down times in full height. */
function drawBands(u: uPlot, { bands, originMs }: Behind, colour: (name: string) => string): void {
  const { ctx, bbox } = u
  const strip = STRIP_PX * devicePixelRatio
  ctx.save()
  for (const band of bands) {
    const place = (ms: number): number => u.valToPos((ms - originMs) / 1_000, "x", true)
    const left = Math.max(bbox.left, place(band.from))
    const right = Math.min(bbox.left + bbox.width, place(band.to))
    if (right <= left) continue
    ctx.fillStyle = colour(TONES[band.tone])
    if (band.tone === "throttled") {
      ctx.globalAlpha = 0.22
      ctx.fillRect(left, bbox.top, Math.max(right - left, 1), bbox.height)
      ctx.globalAlpha = 1
      continue
    }
    ctx.fillRect(left, bbox.top, right - left, strip)
    if (band.tone !== "before" && band.tone !== "validation") {
      ctx.strokeStyle = colour("--w-line-2")
      ctx.lineWidth = devicePixelRatio
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio])
      ctx.beginPath()
      ctx.moveTo(left, bbox.top)
      ctx.lineTo(left, bbox.top + bbox.height)
      ctx.stroke()
      ctx.setLineDash([])
    }
  }
  ctx.restore()
}

function drawMark(u: uPlot, { markMs, originMs }: Behind, colour: (name: string) => string): void {
  if (markMs === null) return
  const { ctx, bbox } = u
  const at = u.valToPos((markMs - originMs) / 1_000, "x", true)
  if (at < bbox.left || at > bbox.left + bbox.width) return
  ctx.save()
  ctx.strokeStyle = colour("--w-bad")
  ctx.lineWidth = 1.5 * devicePixelRatio
  ctx.beginPath()
  ctx.moveTo(at, bbox.top)
  ctx.lineTo(at, bbox.top + bbox.height)
  ctx.stroke()
  ctx.restore()
}

/** What makes a plot a slider over its samples. */
function sliderOf(
  data: uPlot.AlignedData,
  originMs: number,
  markMs: number | null,
  onPick: (atMs: number) => void,
): HTMLAttributes<HTMLDivElement> {
  const [seconds = []] = data
  const now = markMs === null ? (seconds.at(-1) ?? 0) : (markMs - originMs) / 1_000
  return {
    role: "slider",
    tabIndex: 0,
    "aria-valuemin": Math.round(seconds[0] ?? 0),
    "aria-valuemax": Math.round(seconds.at(-1) ?? 0),
    "aria-valuenow": Math.round(now),
    "aria-valuetext": duration(now * 1_000),
    onKeyDown: (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -20, PageUp: 20 }[event.key]
      if (by === undefined || seconds.length === 0) return
      event.preventDefault()
      let at = 0
      while (at < seconds.length - 1 && (seconds[at] ?? 0) < now - 0.000_5) at += 1
      const to = seconds[Math.max(0, Math.min(seconds.length - 1, at + by))] ?? 0
      onPick(originMs + to * 1_000)
    },
  }
}

/** Write each line's value at the cursor, or its last one, beside its name. */
function showValues(u: uPlot, into: HTMLElement): void {
  const { idx } = u.cursor
  for (const cell of into.parentElement?.querySelectorAll<HTMLElement>("[data-line]") ?? []) {
    const values = u.data[Number(cell.dataset.line)] ?? []
    const value = idx === null || idx === undefined ? lastOf(values) : nearestOf(values, idx)
    cell.textContent = number(value, 5)
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
    const xs: number[] = []
    const ys: (number | null)[] = []
    history?.x.forEach((at, n) => {
      const place = x === "time" ? (at - originMs) / 1_000 : at
      const before = n > 0 ? (xs.at(-1) ?? place) : place - 1
      const low = history.low[n] ?? Number.NaN
      const high = history.high[n] ?? Number.NaN
      // A point that stands for many is drawn from its lowest to its highest on the way to its last.
      if (high > low && place > before) {
        xs.push(before + (place - before) / 3, before + (2 * (place - before)) / 3)
        ys.push(Number.isFinite(low) ? low : null, Number.isFinite(high) ? high : null)
      }
      const value = history.value[n] ?? Number.NaN
      // Two at one place: the later one counts.
      if (xs.at(-1) === place) {
        xs.pop()
        ys.pop()
      }
      xs.push(place)
      ys.push(Number.isFinite(value) ? value : null)
    })
    return [xs, ys]
  })
  return tables.length === 0 ? [[]] : uPlot.join(tables)
}

function summary(panel: Panel, histories: ReadonlyMap<string, History>): string {
  const words = panel.lines.map((line) => {
    const history = histories.get(line.key)
    let low = Number.POSITIVE_INFINITY
    let high = Number.NEGATIVE_INFINITY
    history?.low.forEach((value, at) => {
      if (value < low) low = value
      const top = history.high[at] ?? Number.NaN
      if (top > high) high = top
    })
    if (!(high >= low)) return `${line.label}: no values`
    return `${line.label} ${number(low, 3)} to ${number(high, 3)}, last ${number(history?.value.at(-1), 3)}`
  })
  return visible(`${panel.title}: ${words.join("; ")}`, 500)
}
