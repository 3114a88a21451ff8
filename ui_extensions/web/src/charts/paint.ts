/** Painting one line onto a canvas: what each bucket stands for, no extreme left out. */

import type { ChartLine } from "./line"
import { replacedFrom } from "./line"
import { valuesOf } from "./range"

export interface Pen {
  context: CanvasRenderingContext2D
  x: (value: number) => number
  y: (value: number) => number
  height: number
  width: number
  /** Of a line, in CSS pixels. */
  lineWidth: number
  /** Strokes from the smallest to the largest of each bucket. */
  hasStrokes: boolean
  /** An area between the smallest and the largest, instead of strokes. */
  hasShade: boolean
  hasDashes: boolean
  isFaintOriginal: boolean
  hasMarks: boolean
}

export const DASHES: readonly number[][] = [[], [6, 3], [2, 2]]
/** More lines than there are colours times dashes: both say nothing any more. */
export const DASHED_LINES = 24
export const FAINT = 0.25
const REPLACED = 0.35
export const SHADE = 0.18
/** Fewer are marked on every chart: a line through them is hardly one. */
const FEW_POINTS = 3

/** Paint a line with what lies behind it; returns how many buckets had something to paint. */
export function paintLine(pen: Pen, line: ChartLine): number {
  paintBehind(pen, line)
  return paintFront(pen, line)
}

function take(pen: Pen, line: ChartLine): void {
  const { context } = pen
  context.strokeStyle = line.colour
  context.fillStyle = line.colour
  context.lineWidth = pen.lineWidth
  context.lineJoin = "round"
  context.setLineDash(pen.hasDashes ? (DASHES[line.dash] ?? []) : [])
}

/** Paint what is to cover no other line: a band, a range, the values before they were smoothed. */
export function paintBehind(pen: Pen, line: ChartLine): void {
  const { context } = pen
  take(pen, line)
  if (line.band) paintBand(pen, line)
  if (line.smoothed && pen.isFaintOriginal) {
    context.globalAlpha = FAINT
    paintRaw(pen, line, pen.hasStrokes || pen.hasShade)
  } else if (!line.smoothed && pen.hasShade && !line.band) {
    context.globalAlpha = SHADE
    paintShade(pen, line)
  }
  context.globalAlpha = 1
}

/** Paint the line itself; returns how many buckets had something to paint. */
export function paintFront(pen: Pen, line: ChartLine): number {
  take(pen, line)
  const n = line.smoothed ? paintValues(pen, line, line.smoothed) : paintRaw(pen, line, pen.hasStrokes)
  if (pen.hasMarks || line.curve.x.length < FEW_POINTS) paintPoints(pen, line)
  return n
}

/** The last value of each bucket, and the stroke of its range before it. */
function paintRaw(pen: Pen, line: ChartLine, hasStrokes: boolean): number {
  const { context } = pen
  const { x, last, low, high, offset, count } = line.curve
  const replaced = replacedFrom(line.curve)
  const alpha = context.globalAlpha
  let isDown = false
  let before = NaN
  let isFaint = false
  let n = 0
  context.beginPath()
  for (let at = 0; at < x.length; at += 1) {
    const value = x[at] as number
    const own = replaced ? (line.curve.piece?.[at] as number) : 0
    const nowFaint = replaced !== null && value >= (replaced[own] ?? Infinity)
    if (replaced && (nowFaint !== isFaint || value < before)) {
      context.stroke()
      context.beginPath()
      if (value < before) isDown = false
      isFaint = nowFaint
      context.globalAlpha = isFaint ? alpha * REPLACED : alpha
      if (isDown) context.moveTo(pen.x(before), pen.y((last[at - 1] as number) + offset))
    }
    if (value - before > line.gap) isDown = false
    const px = pen.x(value)
    const isBucket = count === null ? low[at] !== high[at] : (count[at] as number) > 1
    if (hasStrokes && isBucket) {
      const middle = Number.isNaN(before) || !isDown ? px : (px + pen.x(before)) / 2
      const top = pen.y((high[at] as number) + offset)
      const bottom = pen.y((low[at] as number) + offset)
      if (top === top && bottom === bottom) {
        if (isDown) context.lineTo(middle, top)
        else context.moveTo(middle, top)
        context.lineTo(middle, bottom)
        isDown = true
        n += 1
      } else if (top === top) {
        // The smallest has no place on a log axis: the stroke runs into the strip below it.
        if (isDown) context.lineTo(middle, top)
        else context.moveTo(middle, top)
        context.lineTo(middle, pen.height)
        isDown = false
        n += 1
      }
    }
    const py = pen.y((last[at] as number) + offset)
    if (py === py && Number.isFinite(py)) {
      if (isDown) context.lineTo(px, py)
      else {
        context.moveTo(px, py)
        context.lineTo(px + 0.01, py) // a point alone is a dot
      }
      isDown = true
      n += 1
    } else {
      isDown = false
    }
    before = value
  }
  context.stroke()
  context.globalAlpha = alpha
  return n
}

function paintValues(pen: Pen, line: ChartLine, values: ArrayLike<number>): number {
  const { context } = pen
  const { x } = line.curve
  let isDown = false
  let before = -Infinity
  let n = 0
  context.beginPath()
  for (let at = 0; at < x.length; at += 1) {
    const value = x[at] as number
    const py = pen.y(values[at] as number)
    if (py !== py || value < before || value - before > line.gap) isDown = false
    if (py === py) {
      if (isDown) context.lineTo(pen.x(value), py)
      else {
        context.moveTo(pen.x(value), py)
        context.lineTo(pen.x(value) + 0.01, py)
      }
      isDown = true
      n += 1
    }
    before = value
  }
  context.stroke()
  return n
}

/** The area between the extremes of the buckets, piece by piece. */
function paintShade(pen: Pen, line: ChartLine): void {
  const { low, high, offset, x } = line.curve
  areas(pen, line, x.length, (at) => (low[at] as number) + offset, (at) => (high[at] as number) + offset)
}

function paintBand(pen: Pen, line: ChartLine): void {
  const band = line.band
  if (!band) return
  pen.context.globalAlpha = SHADE
  areas(pen, line, band.x.length, (at) => band.low[at] as number, (at) => band.high[at] as number)
  pen.context.globalAlpha = 1
}

function areas(
  pen: Pen,
  line: ChartLine,
  n: number,
  lowOf: (at: number) => number,
  highOf: (at: number) => number,
): void {
  const { context } = pen
  const { x } = line.curve
  const close = (from: number, to: number): void => {
    if (to - from < 2) return
    context.beginPath()
    for (let at = from; at < to; at += 1) context.lineTo(pen.x(x[at] as number), pen.y(highOf(at)))
    for (let at = to - 1; at >= from; at -= 1) {
      const bottom = pen.y(lowOf(at))
      context.lineTo(pen.x(x[at] as number), bottom === bottom ? bottom : pen.height)
    }
    context.fill()
  }
  let from = 0
  for (let at = 0; at < n; at += 1) {
    const isThere = pen.y(highOf(at)) === pen.y(highOf(at))
    const isFar =
      at > from &&
      ((x[at] as number) < (x[at - 1] as number) ||
        (x[at] as number) - (x[at - 1] as number) > line.gap)
    if (isThere && !isFar) continue
    close(from, at)
    from = isThere ? at : at + 1
  }
  close(from, n)
}

function paintPoints(pen: Pen, line: ChartLine): void {
  const { context } = pen
  const { x, last, offset } = line.curve
  for (let at = 0; at < x.length; at += 1) {
    const px = pen.x(x[at] as number)
    const py = pen.y((last[at] as number) + offset)
    if (px < -3 || px > pen.width + 3 || py !== py) continue
    context.beginPath()
    context.arc(px, py, 2.25, 0, 2 * Math.PI)
    context.fill()
  }
}

export interface Mark {
  kind: "nan" | "up" | "down" | "below" | "above-cut" | "below-cut"
  x: number
  count: number
  colour: string
}

/** What has no place on the axes: NaN and infinities, values of 0 or less on a log axis, cut ones. */
export function marksOf(
  toX: (value: number) => number,
  width: number,
  line: ChartLine,
  isLog: boolean,
  range: [number, number],
): Mark[] {
  const { x, nan, inf, low, high, offset } = line.curve
  const found: Mark[] = []
  const values = valuesOf(line.curve)
  const isInside = values.min >= range[0] && values.max <= range[1] && !(isLog && values.min <= 0)
  if (isInside && nan === null && inf === null) return found
  const add = (kind: Mark["kind"], at: number, count: number): void => {
    const px = toX(x[at] as number)
    if (px >= -1 && px <= width + 1) found.push({ kind, x: px, count, colour: line.colour })
  }
  for (let at = 0; at < x.length; at += 1) {
    const nNan = nan?.[at] ?? 0
    if (nNan > 0) add("nan", at, nNan)
    const bits = inf?.[at] ?? 0
    if (bits & 1) add("up", at, 1)
    if (bits & 2) add("down", at, 1)
    const smallest = (low[at] as number) + offset
    const largest = (high[at] as number) + offset
    if (isLog && smallest <= 0) add("below", at, 1)
    if (largest > range[1]) add("above-cut", at, 1)
    if (smallest < range[0] && !(isLog && smallest <= 0)) add("below-cut", at, 1)
  }
  return found
}

/** Put marks in the place of those that are there. */
export function drawMarks(context: CanvasRenderingContext2D, marks: readonly Mark[], height: number): void {
  context.clearRect(0, 0, context.canvas.width, context.canvas.height)
  context.lineWidth = 1.5
  for (const mark of marks) {
    context.strokeStyle = context.fillStyle = mark.colour
    const x = mark.x
    context.beginPath()
    if (mark.kind === "nan") {
      const y = height - 6
      context.moveTo(x - 3, y - 3)
      context.lineTo(x + 3, y + 3)
      context.moveTo(x + 3, y - 3)
      context.lineTo(x - 3, y + 3)
      context.stroke()
      continue
    }
    const isUp = mark.kind === "up" || mark.kind === "above-cut"
    const y = isUp ? 2 : height - 2
    const tip = isUp ? 0 : height
    const side = mark.kind.endsWith("cut") ? 3 : 4.5
    context.moveTo(x - side, y + (isUp ? side : -side))
    context.lineTo(x + side, y + (isUp ? side : -side))
    context.lineTo(x, tip)
    context.closePath()
    if (mark.kind === "below") context.stroke()
    else context.fill()
  }
}
