/**
 * A line chart: uPlot for axes, grid and the drag that zooms; our painter for the lines. It is told
 * what to show by `update`, and paints no more than what changed.
 */

import uPlot from "uplot"

import { afterRest, forgetRest } from "../controls/rested"
import { hoverState } from "./hover"
import type { ChartLine } from "./line"
import { nearestBucket, nearestByPlace } from "./line"
import type { Mark, Pen } from "./paint"
import { DASHED_LINES, drawMarks, marksOf } from "./paint"
import { Painter } from "./painter"
import { followPinch } from "./pinch"
import type { Cut } from "./range"
import { cutOf, exactRange, NOTHING_CUT, padded, xExtent, yExtent } from "./range"
import type { Scale } from "./scale"
import { toPixel, toValue } from "./scale"
import { ticks, WHOLE_STEPS, xTick } from "./ticks"
import type { ChartSettings } from "./types"

const SHADED_LINES = 20
const MARKED_POINTS = 60
const NEAR_PX = 24
const CLICK_PX = 4
const AXIS_FONT = '11px -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
const MAX_MARKS = 400
const REFIT_MS = 300

export interface ChartState {
  lines: readonly ChartLine[]
  settings: ChartSettings
  width: number
  height: number
  /** Changes with the theme. */
  theme: string
  /** Below it a symmetric log axis is about linear; the same as long as the chart is. */
  threshold: number
}

export interface Nearby {
  line: ChartLine
  bucket: number
  /** Pixels between the pointer and the line. */
  distance: number
}

export interface ChartEvents {
  onZoom: (range: [number, number] | null) => void
  /** A rectangle was drawn: ranges of x and of y. */
  onRectangle: (x: [number, number], y: [number, number]) => void
  onHover: (
    nearby: Nearby[],
    at: { x: number; left: number; top: number; isPinned: boolean } | null,
  ) => void
  /** Told how many buckets lie beyond a y axis that is not as the lines need it. */
  onPaint: (cut: Cut) => void
}

const registry = new Set<LineChart>()

/** Every chart on the page, for tests that look at what was drawn. */
export function allCharts(): ReadonlySet<LineChart> {
  return registry
}

export class LineChart {
  readonly name: string
  readonly #events: ChartEvents
  readonly #plot: uPlot
  readonly #painter: Painter
  readonly #marks: HTMLCanvasElement
  readonly #unsubscribe: () => void
  #state: ChartState
  #x: Scale
  #y: Scale
  #isPointerHere = false
  #raisedLine = ""
  paintedAt = 0

  constructor(parent: HTMLElement, name: string, state: ChartState, events: ChartEvents) {
    this.name = name
    this.#events = events
    this.#state = state
    this.#x = this.#y = { kind: "linear", min: 0, max: 1, threshold: 1, size: 1, isFlipped: false }
    this.#plot = new uPlot(this.#options(), [[0, 1], [null, null]], parent)
    const canvas = (className: string): HTMLCanvasElement => {
      const made = document.createElement("canvas")
      made.className = className
      made.setAttribute("aria-hidden", "true")
      return made
    }
    const base = canvas("w-chart-lines")
    const overlay = canvas("w-chart-raised")
    this.#marks = canvas("w-chart-marks")
    this.#plot.over.prepend(base, this.#marks, overlay)
    this.#painter = new Painter({
      base,
      overlay,
      onComplete: () => {
        this.paintedAt = performance.now()
        this.#paintMarks()
        this.#follow()
        this.#showPin()
        events.onPaint(this.#cut())
      },
    })
    const over = this.#plot.over
    over.addEventListener("pointermove", this.#onMove)
    over.addEventListener("pointerleave", this.#onLeave)
    over.addEventListener("dblclick", this.#onDoubleClick)
    over.addEventListener("pointerdown", this.#onDown)
    over.addEventListener("pointerup", this.#onUp)
    followPinch(over, (transform) => this.#stretch(transform), this.#onPinch)
    window.addEventListener("scroll", this.#onScroll, { capture: true, passive: true })
    window.addEventListener("resize", this.#onScroll)
    this.#observer.observe(over)
    const stops = [
      hoverState.subscribe(() => this.#follow()),
      hoverState.onPin(() => this.#showPin()),
    ]
    this.#unsubscribe = () => {
      for (const stop of stops) stop()
      window.removeEventListener("scroll", this.#onScroll, { capture: true })
      window.removeEventListener("resize", this.#onScroll)
      this.#observer.disconnect()
    }
    registry.add(this)
    this.#repaint()
  }

  get state(): ChartState {
    return this.#state
  }

  get painter(): Painter {
    return this.#painter
  }

  get scales(): { x: Scale; y: Scale } {
    return { x: this.#x, y: this.#y }
  }

  /** Show this; a change of one line's visibility alone paints one layer. */
  update(next: ChartState): void {
    const before = this.#state
    this.#state = next
    if (before.width !== next.width || before.height !== next.height) {
      this.#plot.setSize({ width: next.width, height: next.height })
    }
    const toggled = toggledLine(before, next)
    if (toggled === "nothing") return
    if (toggled !== null && !this.#rangeMoves()) {
      this.#painter.toggle(next.lines, toggled)
      this.#scheduleRefit()
      return
    }
    this.#repaint()
  }

  /** After a rest, fit the y axis to what is shown, where that would change it. */
  #scheduleRefit(): void {
    afterRest(this, REFIT_MS, () => {
      const [min, max] = this.#yRange()
      const size = this.#y.max - this.#y.min
      const moves = Math.max(Math.abs(min - this.#y.min), Math.abs(max - this.#y.max))
      if (moves > 0.05 * size) this.#repaint()
    })
  }

  /** Say whether what is shown now lies outside the axes. */
  #rangeMoves(): boolean {
    const [min, max] = this.#yRange()
    return min < this.#y.min - 1e-12 * Math.abs(this.#y.min) - 0.05 * (this.#y.max - this.#y.min) ||
      max > this.#y.max + 0.05 * (this.#y.max - this.#y.min)
  }

  destroy(): void {
    forgetRest(this)
    registry.delete(this)
    this.#unsubscribe()
    this.#painter.destroy()
    this.#plot.destroy()
  }

  /** The canvases, one upon the other, for an export. */
  flatten(background: string): HTMLCanvasElement {
    const source = this.#plot.ctx.canvas
    const made = document.createElement("canvas")
    made.width = source.width
    made.height = source.height
    const context = made.getContext("2d")
    if (!context) return made
    context.fillStyle = background
    context.fillRect(0, 0, made.width, made.height)
    context.drawImage(source, 0, 0)
    const { left, top, width, height } = this.#plot.bbox
    for (const canvas of this.#plot.over.querySelectorAll("canvas")) {
      context.drawImage(canvas, left, top, width, height)
    }
    return made
  }

  // Scales and painting

  #xRange(): [number, number] {
    const { settings, lines } = this.#state
    if (settings.zoom !== null) return settings.zoom
    this.#whole = exactRange(xExtent(lines), settings.xLog)
    return this.#whole
  }

  #yRange(): [number, number] {
    const { settings, lines } = this.#state
    const { yMin, yMax, zoomY } = settings
    const isLog = settings.yScale === "log"
    if (zoomY !== null && !(isLog && zoomY[0] <= 0)) return zoomY
    const least = yMin !== null && !(isLog && yMin <= 0) ? yMin : null
    if (least !== null && yMax !== null && least < yMax) return [least, yMax]
    const [from, to] = this.#xRange()
    const [low, high] = padded(yExtent(lines, from, to, settings.outliers), settings.yScale)
    // One end alone may leave nothing of the other one's side.
    const bottom = least ?? (yMax !== null && yMax <= low ? below(yMax, isLog) : low)
    const top = yMax !== null && yMax > bottom ? yMax : high > bottom ? high : above(bottom, isLog)
    return [bottom, top]
  }

  #options(): uPlot.Options {
    const { width, height } = this.#state
    const style = getComputedStyle(document.documentElement)
    const variable = (name: string) => (): string => style.getPropertyValue(name).trim()
    const axis = { stroke: variable("--w-text-2"), font: AXIS_FONT }
    const grid = { stroke: variable("--w-line"), width: 1 }
    const noTicks = { show: false }
    const settings = (): ChartSettings => this.#state.settings
    return {
      width,
      height,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false, dist: 4 },
      },
      scales: {
        x: {
          time: this.#state.settings.x === "wall",
          distr: this.#state.settings.xLog ? 3 : 1,
          range: () => [this.#x.min, this.#x.max],
        },
        y: {
          distr: { linear: 1, log: 3, symlog: 4 }[this.#state.settings.yScale] as 1 | 3 | 4,
          asinh: this.#state.threshold,
          range: () => [this.#y.min, this.#y.max],
        },
      },
      ms: 1,
      series: [{}, { show: false, scale: "y" }],
      axes: [
        {
          ...axis,
          grid,
          ticks: noTicks,
          size: 26,
          space: 60,
          ...(this.#state.settings.x === "step" && !this.#state.settings.xLog ? { incrs: WHOLE_STEPS } : {}),
          ...(this.#state.settings.x === "wall"
            ? {}
            : { values: (_: uPlot, values: number[]) => values.map((v) => v === null ? "" : xTick(settings().x, v)) }),
        },
        {
          ...axis,
          grid,
          ticks: noTicks,
          size: 46,
          space: 34,
          values: (_: uPlot, values: (number | null)[]) => ticks(values),
        },
      ],
      hooks: {
        setSelect: [
          (plot) => {
            const { left, top, width: wide, height: high } = plot.select
            const isRectangle = plot.cursor.drag?.y === true
            if (wide < 4 || (isRectangle && high < 4)) return
            const x: [number, number] = [toValue(this.#x, left), toValue(this.#x, left + wide)]
            const y: [number, number] = [toValue(this.#y, top + high), toValue(this.#y, top)]
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
            if (isRectangle) this.#events.onRectangle(x, y)
            else this.#events.onZoom(x)
          },
        ],
      },
    }
  }

  /** Paint everything: axes by uPlot, lines by the painter. */
  #repaint(): void {
    const { settings, lines } = this.#state
    const [xMin, xMax] = this.#xRange()
    const [yMin, yMax] = this.#yRange()
    const ratio = devicePixelRatio || 1
    const over = this.#plot.over
    const width = this.#plot.bbox.width / ratio || over.clientWidth || 1
    const height = this.#plot.bbox.height / ratio || over.clientHeight || 1
    const { threshold } = this.#state
    this.#x = {
      kind: settings.xLog ? "log" : "linear",
      min: xMin,
      max: xMax,
      threshold: 1,
      size: width,
      isFlipped: false,
    }
    this.#y = { kind: settings.yScale, min: yMin, max: yMax, threshold, size: height, isFlipped: true }
    this.#plot.batch(() => {
      this.#plot.setScale("x", { min: xMin, max: xMax })
      this.#plot.setScale("y", { min: yMin, max: yMax })
      this.#plot.redraw(false, true)
    })
    this.#painter.paint(lines, this.#pen(), ratio)
  }

  #pen(): Omit<Pen, "context"> {
    const { lines, settings } = this.#state
    let n = 0
    let inView = 0
    for (const line of lines) {
      if (!line.isVisible) continue
      n += 1
      if (n <= 8) inView += line.curve.x.length
    }
    return {
      x: toPixel(this.#x),
      y: toPixel(this.#y),
      width: this.#x.size,
      height: this.#y.size,
      lineWidth: n <= 20 ? 1.5 : n <= 100 ? 1.25 : 1,
      hasStrokes: settings.minMax && n > SHADED_LINES,
      hasShade: settings.minMax && n <= SHADED_LINES,
      hasDashes: n <= DASHED_LINES,
      isFaintOriginal: settings.smoothing.original,
      hasMarks: n <= 8 && inView < MARKED_POINTS,
    }
  }

  #hasMarks = false

  #paintMarks(): void {
    const isLog = this.#state.settings.yScale === "log"
    const range: [number, number] = [this.#y.min, this.#y.max]
    const toX = toPixel(this.#x)
    const marks: Mark[] = []
    for (const line of this.#state.lines) {
      if (!line.isVisible || marks.length > MAX_MARKS) continue
      marks.push(...marksOf(toX, this.#x.size, line, isLog, range))
    }
    if (marks.length === 0 && !this.#hasMarks) return
    this.#hasMarks = marks.length > 0
    const canvas = this.#marks
    const ratio = devicePixelRatio || 1
    canvas.width = Math.round(this.#x.size * ratio)
    canvas.height = Math.round(this.#y.size * ratio)
    const context = canvas.getContext("2d")
    if (!context) return
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    drawMarks(context, marks, this.#y.size)
  }

  #cut(): Cut {
    const { settings, lines } = this.#state
    const { outliers, yMin, yMax, zoomY } = settings
    if (!outliers && yMin === null && yMax === null && zoomY === null) return NOTHING_CUT
    return cutOf(lines, this.#x, this.#y, settings.yScale === "log")
  }

  // The pointer

  /** All of x, where it was shown before a zoom. */
  #whole: [number, number] | null = null

  /** Until two fingers are lifted, what is painted is drawn wider or narrower. */
  #stretch(transform: string | null): void {
    for (const canvas of this.#plot.over.querySelectorAll("canvas")) {
      canvas.style.transform = transform ?? ""
    }
  }

  readonly #onPinch = (left: number, right: number): void => {
    const from = toValue(this.#x, left)
    const to = toValue(this.#x, right)
    if (!Number.isFinite(from) || !Number.isFinite(to) || from >= to) return
    const isAll = this.#whole !== null && from <= this.#whole[0] && to >= this.#whole[1]
    if (!isAll) this.#events.onZoom([from, to])
    else if (this.#state.settings.zoom !== null) this.#events.onZoom(null)
  }

  #downAt: { x: number; y: number } | null = null

  readonly #onDown = (event: PointerEvent): void => {
    this.#downAt = event.button === 0 ? { x: event.clientX, y: event.clientY } : null
    // With Shift, a rectangle; uPlot looks at it while it drags.
    const { drag } = this.#plot.cursor
    if (drag) drag.y = event.shiftKey
  }

  /** A click that is no drag keeps the cursor there; another one moves it. */
  readonly #onUp = (event: PointerEvent): void => {
    const down = this.#downAt
    this.#downAt = null
    if (!down || Math.hypot(event.clientX - down.x, event.clientY - down.y) > CLICK_PX) return
    const bounds = this.#plot.over.getBoundingClientRect()
    const left = event.clientX - bounds.left
    const top = event.clientY - bounds.top
    if (this.nearby(left, top).length === 0) return
    hoverState.setPin({
      axis: this.#state.settings.x,
      x: toValue(this.#x, left),
      y: toValue(this.#y, top),
      chart: this.name,
    })
  }

  #isPinShown = false

  /** Tell what is at the pin, where it is on this chart. */
  #showPin(): void {
    const { pin } = hoverState
    if (pin === null || pin.chart !== this.name || pin.axis !== this.#state.settings.x) {
      if (this.#isPinShown) this.#events.onHover([], null)
      this.#isPinShown = false
      return
    }
    const left = toPixel(this.#x)(pin.x)
    const top = toPixel(this.#y)(pin.y)
    if (!(left >= 0 && left <= this.#x.size)) return
    this.#isPinShown = true
    const nearby = this.nearby(left, Number.isFinite(top) ? top : this.#y.size / 2)
    hoverState.raise(nearby[0]?.line.runId ?? null)
    this.#events.onHover(nearby, { x: pin.x, left, top, isPinned: true })
  }

  readonly #onMove = (event: PointerEvent): void => {
    if (hoverState.pin !== null) return
    this.#isPointerHere = true
    // Once a visit and not each frame, which would have the browser lay out the page in between.
    this.#bounds ??= this.#plot.over.getBoundingClientRect()
    const left = event.clientX - this.#bounds.left
    const top = event.clientY - this.#bounds.top
    const x = toValue(this.#x, left)
    hoverState.move({ axis: this.#state.settings.x, x })
    const nearby = this.nearby(left, top)
    const nearest = nearby[0]
    hoverState.raise(nearest && nearest.distance <= NEAR_PX ? nearest.line.runId : null)
    this.#events.onHover(nearby, { x, left, top, isPinned: false })
  }

  /** Where the plot is in the window, as long as the pointer is on it and nothing scrolls. */
  #bounds: DOMRect | null = null

  readonly #onScroll = (): void => {
    this.#bounds = null
  }

  readonly #onLeave = (): void => {
    this.#isPointerHere = false
    this.#bounds = null
    if (hoverState.pin !== null) return
    hoverState.move({ axis: this.#state.settings.x, x: null })
    hoverState.raise(null)
    this.#events.onHover([], null)
  }

  readonly #onDoubleClick = (): void => {
    // Its clicks were no wish to pin.
    hoverState.setPin(null)
    this.#events.onZoom(null)
  }

  /** Move the cursor by buckets, as the arrow keys do. */
  step(by: number): void {
    const visible = this.#state.lines.find((line) => line.isVisible)
    if (!visible) return
    const { x } = visible.curve
    const { x: now, axis } = hoverState.hover
    hoverState.setPin(null)
    const from = now === null || axis !== this.#state.settings.x ? -1 : nearestBucket(visible.curve, now)
    const to = Math.max(0, Math.min(x.length - 1, from + by))
    const value = x[to] as number
    hoverState.move({ axis: this.#state.settings.x, x: value })
    const left = toPixel(this.#x)(value)
    const top = toPixel(this.#y)((visible.curve.last[to] as number) + visible.curve.offset)
    this.#events.onHover(this.nearby(left, top), { x: value, left, top, isPinned: false })
  }

  /** Visible lines with a bucket at this place, the nearest first. */
  nearby(left: number, top: number): Nearby[] {
    const x = toValue(this.#x, left)
    const toX = toPixel(this.#x)
    const toY = toPixel(this.#y)
    const found: Nearby[] = []
    for (const line of this.#state.lines) {
      if (!line.isVisible) continue
      const bucket = this.#state.settings.x.startsWith("m:")
        ? nearestByPlace(line, left, top, toX, toY)
        : nearestBucket(line.curve, x)
      if (bucket < 0) continue
      const { curve } = line
      const across = Math.abs(toX(curve.x[bucket] as number) - left)
      if (across > 60 && curve.x.length > 1) continue
      const value = line.smoothed?.[bucket] ?? (curve.last[bucket] as number) + curve.offset
      const high = toY((curve.high[bucket] as number) + curve.offset)
      const low = toY((curve.low[bucket] as number) + curve.offset)
      const isInside = line.smoothed === null && top >= high && top <= low
      const distance = Math.abs(toY(value) - top)
      if (Number.isNaN(distance)) continue
      found.push({ line, bucket, distance: isInside ? Math.min(distance, 8) : distance })
    }
    return found.sort((a, b) => a.distance - b.distance)
  }

  #isInView = true

  readonly #observer = new IntersectionObserver((entries) => {
    this.#isInView = entries[entries.length - 1]?.isIntersecting ?? true
    this.#follow()
  })

  /** Put cursor and raised line where the page's are; what is out of sight follows when it comes. */
  #follow(): void {
    if (!this.#isInView) return
    const { hover, raised } = hoverState
    if (!this.#isPointerHere || hoverState.pin !== null) {
      const isMine = hover.x !== null && hover.axis === this.#state.settings.x
      const left = isMine ? toPixel(this.#x)(hover.x as number) : -10
      this.#plot.setCursor({ left: left >= 0 && left <= this.#x.size ? left : -10, top: 0 }, false)
    }
    const name = `${raised ?? ""} ${this.paintedAt}`
    if (name === this.#raisedLine || !this.#painter.isComplete) return
    this.#raisedLine = name
    const lines = raised === null ? [] : this.#state.lines.filter((line) => line.runId === raised)
    this.#painter.raise(lines.filter((line) => line.isVisible || lines.length === 1))
  }
}

function below(value: number, isLog: boolean): number {
  return isLog ? value / 10 : value - Math.max(1, Math.abs(value))
}

function above(value: number, isLog: boolean): number {
  return isLog ? value * 10 : value + Math.max(1, Math.abs(value))
}

/** The one line whose visibility is all that differs; "nothing" for none, null where more does. */
function toggledLine(before: ChartState, next: ChartState): string | null {
  if (
    before.settings !== next.settings ||
    before.width !== next.width ||
    before.height !== next.height ||
    before.theme !== next.theme ||
    before.lines.length !== next.lines.length
  ) {
    return null
  }
  let found: string | null = null
  for (let at = 0; at < next.lines.length; at += 1) {
    const one = before.lines[at] as ChartLine
    const other = next.lines[at] as ChartLine
    if (one === other) continue
    const isSame =
      one.id === other.id &&
      one.curve === other.curve &&
      one.colour === other.colour &&
      one.smoothed === other.smoothed &&
      one.isVisible !== other.isVisible
    if (!isSame || found !== null) return null
    found = other.id
  }
  return found ?? "nothing"
}
