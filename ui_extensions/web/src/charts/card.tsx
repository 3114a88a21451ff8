/** A line card: title, chart, what is said of it, its menu, and the same as a table. */

import "uplot/dist/uPlot.min.css"
import "./charts.css"

import type { KeyboardEvent, ReactNode } from "react"
import { memo, useCallback, useEffect, useMemo, useRef, useState } from "react"

import { IconButton } from "../controls/button"
import type { MenuItem } from "../controls/menu"
import { Menu } from "../controls/menu"
import { useAfterRest } from "../controls/rested"
import { Empty, Failed } from "../controls/state"
import { count, number } from "../text/format"
import { Name } from "../text/name"
import { NAME_LENGTH, visible } from "../text/visible"
import { useTheme } from "../theme"
import { seriesStore } from "../data/series-store"
import { exportCsv, exportPng, exportSvg, svgOf } from "./export"
import { keepDrawing } from "./drawings"
import { Legend, legendHeight, legendRows } from "./legend"
import type { ChartLine } from "./line"
import { LineChart } from "./line-chart"
import type { Cut } from "./range"
import { NOTHING_CUT, symlogThreshold, valuesOf } from "./range"
import { SpokenTip, Tip, TipSource } from "./tip"
import { ValueTable } from "./value-table"
import type { ChartSettings, DrawnRun } from "./types"
import { bucketsFor, useLines } from "./use-lines"

export interface LineCardProps {
  keys: readonly string[]
  runs: readonly DrawnRun[]
  settings: ChartSettings
  /** What this card changes of its settings. */
  onSettings: (patch: Partial<ChartSettings>) => void
  width: number
  height: number
  /** Of the menu, beside the card's own items. */
  items?: readonly MenuItem[]
  onExpand?: () => void
  grip?: ReactNode
  isFull?: boolean
  /** Instead of the metrics' names. */
  title?: string | undefined
  /** What else is to be said of it, under the chart. */
  note?: string | null | undefined
}

const SUMMARY_MS = 400
const WHOLE = { zoom: null, zoomY: null } as const
const HEAD = 28
const FOOT = 22

export const LineCard = memo(function LineCard(props: LineCardProps) {
  const { keys, runs, settings, onSettings, width, height, onExpand, grip } = props
  const theme = useTheme()
  const plotWidth = Math.max(120, width - 26)
  const cards = useLines({ keys, runs, settings, buckets: bucketsFor(runs.length, plotWidth) })
  const { lines, isLoading, error, most } = cards
  const shown = useMemo(() => lines.filter((line) => line.isVisible), [lines])
  const nRows = props.isFull ? 0 : legendRows(shown.length, plotWidth)
  const plotHeight = Math.max(80, height - HEAD - FOOT - legendHeight(nRows) - 10)
  const box = useRef<HTMLDivElement>(null)
  const chart = useRef<LineChart | null>(null)
  const [tips] = useState(() => new TipSource())
  const [isTable, showTable] = useState(false)
  const [cut, setCut] = useState<Cut>(NOTHING_CUT)
  const zoomRef = useRef(onSettings)
  zoomRef.current = onSettings
  const title = props.title ? visible(props.title, NAME_LENGTH) : keys.map((key) => visible(key, NAME_LENGTH)).join(", ")

  const threshold = useMemo(
    () => (settings.yScale === "symlog" ? 10 ** Math.floor(Math.log10(symlogThreshold(lines))) : 1),
    [settings.yScale, lines],
  )
  const state = { lines, settings, width: plotWidth, height: plotHeight, theme, threshold }
  // uPlot's scales are of one kind for ever: another kind is another chart.
  const name = keys.join("\n")
  const kind = `${settings.x === "wall"} ${settings.xLog} ${settings.yScale} ${theme} ${settings.x} ${threshold} ${name}`
  const latest = useRef(state)
  latest.current = state
  // biome-ignore lint: `kind` stands for what cannot be updated
  useEffect(() => {
    const make = (): void => {
      if (!box.current) return
      const made = new LineChart(box.current, name, latest.current, {
        onZoom: (zoom) => zoomRef.current(zoom === null ? WHOLE : { zoom }),
        onRectangle: (zoom, zoomY) => zoomRef.current({ zoom, zoomY }),
        onHover: (nearby, at) => tips.set(at === null ? null : { nearby, ...at }),
        onPaint: (cut) => {
          box.current?.setAttribute("data-painted", String(made.painter.drawn.size))
          setCut((before) => (before.above === cut.above && before.below === cut.below ? before : cut))
        },
      })
      chart.current = made
    }
    // What has nothing to draw yet is made after the series are asked for, card by card.
    const timer = latest.current.lines.length === 0 ? setTimeout(make) : undefined
    if (timer === undefined) make()
    return () => {
      clearTimeout(timer)
      chart.current?.destroy()
      chart.current = null
    }
  }, [kind])
  const drawing = useRef({ title, shown })
  drawing.current = { title, shown }
  useEffect(() => {
    const place = box.current
    if (place === null) return
    return keepDrawing(place, () =>
      chart.current === null ? null : svgOf(chart.current, drawing.current.title, drawing.current.shown),
    )
  }, [])
  useEffect(() => {
    const now = chart.current
    if (!now || now.state === latest.current) return
    now.update(latest.current)
  }, [lines, settings, plotWidth, plotHeight, theme])

  const onKeyDown = (event: KeyboardEvent): void => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (by !== undefined && !event.altKey) {
      event.preventDefault()
      chart.current?.step(event.shiftKey ? 10 * by : by)
      return
    }
    if (event.key === "0" || event.key === "Escape") onSettings(WHOLE)
    if (event.key === "l") toggleLog()
  }
  const toggleLog = useCallback(
    () => zoomRef.current({ yScale: settings.yScale === "log" ? "linear" : "log" }),
    [settings.yScale],
  )
  const isZoomed = settings.zoom !== null || settings.zoomY !== null
  // After a rest: it takes longer than a toggle may.
  const summary = useAfterRest(title, SUMMARY_MS, () => summaryOf(title, shown), [title, shown])
  const items: MenuItem[] = [
    { label: "Show as table", onSelect: () => showTable(true) },
    { label: "Whole range", isDisabled: !isZoomed, onSelect: () => onSettings(WHOLE) },
    {
      label: "Leave outliers out",
      isChecked: settings.outliers,
      onSelect: () => onSettings({ outliers: !settings.outliers }),
    },
    {
      label: "Shade from smallest to largest",
      isChecked: settings.minMax,
      onSelect: () => onSettings({ minMax: !settings.minMax }),
    },
    ...(["linear", "log", "symlog"] as const).map((yScale, at) => ({
      label: { linear: "Linear y", log: "Logarithmic y", symlog: "Symmetric logarithmic y" }[yScale],
      isChecked: settings.yScale === yScale,
      isFirstOfGroup: at === 0,
      onSelect: () => onSettings({ yScale }),
    })),
    { label: "Save as PNG", isFirstOfGroup: true, onSelect: () => chart.current && void exportPng(chart.current, title, shown) },
    { label: "Save as SVG", onSelect: () => chart.current && exportSvg(chart.current, title, shown) },
    { label: "Save as CSV", onSelect: () => exportCsv(title, settings, shown) },
    ...(props.items ?? []),
  ]
  const isEmpty = !isLoading && error === null && shown.length === 0
  const hasNoNumber = shown.length > 0 && shown.every(({ curve }) => valuesOf(curve).min === Infinity)
  const nUnder = settings.yScale === "log" ? countOf(shown, underZero) : 0
  const nBefore = settings.xLog ? countOf(shown, beforeZero) : 0
  return (
    <article className="w-card" aria-label={title} style={{ width, height }} data-keys={name}>
      <header className="w-card-head">
        {grip}
        <h3><Name text={title} title={keys.join(", ")} /></h3>
        <button
          type="button"
          className="w-card-log"
          aria-pressed={settings.yScale === "log"}
          onClick={toggleLog}
        >
          log
        </button>
        {onExpand && <IconButton icon="expand" label={`Full screen: ${title}`} isSmall onClick={onExpand} />}
        <Menu
          label={`Menu of ${title}`}
          button={{ icon: "more", isSmall: true, kind: "quiet", "aria-label": `Menu of ${title}` }}
          items={items}
        />
      </header>
      <div
        ref={box}
        className={`w-chart${isLoading ? " w-chart-loading" : ""}`}
        role="application"
        tabIndex={0}
        aria-label={summary}
        aria-roledescription="line chart"
        onKeyDown={onKeyDown}
        style={{ width: plotWidth, height: plotHeight }}
        data-loading={isLoading}
      >
        <Tip source={tips} axis={settings.x} width={plotWidth} height={plotHeight} hasKeys={keys.length > 1} />
      </div>
      <SpokenTip
        source={tips}
        axis={settings.x}
        isSpoken={() => box.current?.contains(document.activeElement) ?? false}
      />
      {isEmpty && (
        <div className="w-chart-note">
          <Empty>No run that is shown has {title}.</Empty>
        </div>
      )}
      {error && (
        <div className="w-chart-note">
          <Failed what="These series could not be read" error={error} onRetry={() => seriesStore.retry()} />
        </div>
      )}
      {nRows > 0 && <Legend lines={shown} hasKeys={keys.length > 1} rows={nRows} />}
      <footer className="w-card-foot">
        {most !== null && most.points > most.buckets && (
          <span title="Every point is counted, and no extreme is lost. Zoom in for finer buckets; fewer runs have finer ones too.">
            {count(most.points)} points as {count(most.buckets)} buckets
          </span>
        )}
        {isZoomed && (
          <button type="button" className="w-card-log" onClick={() => onSettings(WHOLE)}>
            zoomed ✕
          </button>
        )}
        {props.note && <span className="w-cut" title={props.note}>{props.note}</span>}
        {hasNoNumber && <span>every value is NaN or infinite</span>}
        {nUnder > 0 && <span>▽ {count(nUnder)} at or under 0</span>}
        {nBefore > 0 && <span>{count(nBefore)} where x is 0 or less</span>}
        {cut.above > 0 && <span>▲ {count(cut.above)} above</span>}
        {cut.below > 0 && <span>▼ {count(cut.below)} below</span>}
      </footer>
      {isTable && <ValueTable title={title} lines={shown} axis={settings.x} onClose={() => showTable(false)} />}
    </article>
  )
})

function countOf(lines: readonly ChartLine[], nOf: (line: ChartLine) => number): number {
  return lines.reduce((sum, line) => sum + nOf(line), 0)
}

/** Buckets with values that have no place on a logarithmic y axis. */
function underZero({ curve }: ChartLine): number {
  return valuesOf(curve).min > 0 ? 0 : notPositive(curve.low, curve.offset)
}

/** Buckets that have no place on a logarithmic x axis. */
function beforeZero({ curve }: ChartLine): number {
  return notPositive(curve.x, 0)
}

function notPositive(values: ArrayLike<number>, offset: number): number {
  let n = 0
  for (let at = 0; at < values.length; at += 1) if ((values[at] as number) + offset <= 0) n += 1
  return n
}

/** The chart in a sentence: how many runs, from where to where, and which ends lowest. */
function summaryOf(title: string, lines: readonly ChartLine[]): string {
  let min = Infinity
  let max = -Infinity
  let lowest: ChartLine | null = null
  let best = Infinity
  for (const line of lines) {
    const { last, offset } = line.curve
    const own = valuesOf(line.curve)
    min = Math.min(min, own.min)
    max = Math.max(max, own.max)
    const end = (last[last.length - 1] as number) + offset
    if (end < best) {
      best = end
      lowest = line
    }
  }
  if (lowest === null) return `${title}: no line`
  const lines_ = `${count(lines.length)} ${lines.length === 1 ? "line" : "lines"}`
  return `${title}, ${lines_}, ${number(min, 4)} to ${number(max, 4)}, lowest at the end ${visible(lowest.name, 80)} with ${number(best, 4)}`
}
