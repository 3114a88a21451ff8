/** How far the axes of a card go. */

import type { Curve } from "../data/curve"
import type { ChartLine } from "./line"

export interface Extent {
  min: number
  max: number
  /** Smallest positive value, for log axes; Infinity for none. */
  positive: number
}

function emptyExtent(): Extent {
  return { min: Infinity, max: -Infinity, positive: Infinity }
}

function add(extent: Extent, value: number): void {
  if (!Number.isFinite(value)) return
  if (value < extent.min) extent.min = value
  if (value > extent.max) extent.max = value
  if (value > 0 && value < extent.positive) extent.positive = value
}

const xExtents = new WeakMap<Curve, Extent>()
const yExtents = new WeakMap<Curve, Extent>()

/** The x of a curve; found once. */
function xOf(curve: Curve): Extent {
  let extent = xExtents.get(curve)
  if (extent === undefined) {
    extent = emptyExtent()
    for (let at = 0; at < curve.x.length; at += 1) add(extent, curve.x[at] as number)
    xExtents.set(curve, extent)
  }
  return extent
}

/** The finite values of a curve, extremes included; found once. */
export function valuesOf(curve: Curve): Extent {
  let extent = yExtents.get(curve)
  if (extent === undefined) {
    extent = emptyExtent()
    const { low, high, offset } = curve
    for (let at = 0; at < low.length; at += 1) {
      add(extent, (low[at] as number) + offset)
      add(extent, (high[at] as number) + offset)
    }
    yExtents.set(curve, extent)
  }
  return extent
}

function join(extent: Extent, other: Extent): void {
  if (other.min < extent.min) extent.min = other.min
  if (other.max > extent.max) extent.max = other.max
  if (other.positive < extent.positive) extent.positive = other.positive
}

/** The x of all visible lines. */
export function xExtent(lines: readonly ChartLine[]): Extent {
  const extent = emptyExtent()
  for (const { isVisible, curve } of lines) if (isVisible) join(extent, xOf(curve))
  return extent
}

/**
 * The y of all visible lines within an x range.
 *
 * @param isCut Leave out what lies beyond each line's own 1 % and 99 % (weighted by points).
 */
export function yExtent(
  lines: readonly ChartLine[],
  from: number,
  to: number,
  isCut: boolean,
): Extent {
  const extent = emptyExtent()
  for (const line of lines) {
    if (!line.isVisible) continue
    if (isCut) {
      addQuantiles(extent, line, from, to)
      continue
    }
    const { x, low, high, offset } = line.curve
    const own = xOf(line.curve)
    if (line.band === null && own.min >= from && own.max <= to) {
      join(extent, valuesOf(line.curve))
      continue
    }
    for (let at = 0; at < x.length; at += 1) {
      const own = x[at] as number
      if (own < from || own > to) continue
      add(extent, (low[at] as number) + offset)
      add(extent, (high[at] as number) + offset)
      if (line.band) {
        add(extent, line.band.low[at] as number)
        add(extent, line.band.high[at] as number)
      }
    }
  }
  return extent
}

/** How many buckets have values above and below what an axis shows. */
export interface Cut {
  above: number
  below: number
}

export const NOTHING_CUT: Cut = { above: 0, below: 0 }

/**
 * Count what a y axis leaves out of the visible lines.
 *
 * @param isLog What is 0 or less has no place anyway, and is told of as that.
 */
export function cutOf(
  lines: readonly ChartLine[],
  x: { min: number; max: number },
  y: { min: number; max: number },
  isLog: boolean,
): Cut {
  let above = 0
  let below = 0
  for (const { isVisible, curve } of lines) {
    if (!isVisible) continue
    const all = valuesOf(curve)
    if (all.max <= y.max && all.min >= y.min) continue
    for (let at = 0; at < curve.x.length; at += 1) {
      const own = curve.x[at] as number
      if (own < x.min || own > x.max) continue
      const least = (curve.low[at] as number) + curve.offset
      if ((curve.high[at] as number) + curve.offset > y.max) above += 1
      if (least < y.min && !(isLog && least <= 0)) below += 1
    }
  }
  return { above, below }
}

function addQuantiles(extent: Extent, line: ChartLine, from: number, to: number): void {
  const { x, low, high, last, mean, offset, count } = line.curve
  const found: { value: number; weight: number }[] = []
  for (let at = 0; at < x.length; at += 1) {
    const own = x[at] as number
    const value = ((mean ?? last)[at] as number) + offset
    if (own < from || own > to || !Number.isFinite(value)) continue
    const n = count?.[at] ?? 1
    // The extremes of a bucket are a point each; what lies between is about its mean.
    if (n > 2) found.push({ value, weight: n - 2 })
    found.push({ value: (low[at] as number) + offset, weight: 1 })
    if (n > 1) found.push({ value: (high[at] as number) + offset, weight: 1 })
  }
  found.sort((a, b) => a.value - b.value)
  const total = found.reduce((sum, one) => sum + one.weight, 0)
  let gone = 0
  let low1: number | null = null
  let high1: number | null = null
  for (const { value, weight } of found) {
    gone += weight
    if (low1 === null && gone > 0.01 * total) low1 = value
    if (high1 === null && gone >= 0.99 * total) high1 = value
  }
  if (low1 !== null) add(extent, low1)
  if (high1 !== null) add(extent, high1)
}

/** An axis around an extent, with room, so that no line lies on its edge. */
export function padded(extent: Extent, kind: "linear" | "log" | "symlog"): [number, number] {
  const { min, max, positive } = extent
  if (!(min <= max)) return kind === "log" ? [0.1, 10] : [0, 1]
  if (kind === "log") {
    if (!Number.isFinite(positive)) return [0.1, 10]
    const low = Math.log10(positive)
    const high = Math.log10(Math.max(positive, max))
    const room = Math.max(0.02, 0.05 * (high - low)) + (high === low ? 0.3 : 0)
    return [10 ** (low - room), 10 ** (high + room)]
  }
  if (min === max) {
    const room = Math.abs(min) * 0.1 || 1
    return [min - room, max + room]
  }
  const room = 0.05 * (max - min)
  return [min - room, max + room]
}

/** The x axis: no room, but for a single point. */
export function exactRange(extent: Extent, isLog: boolean): [number, number] {
  const { min, max, positive } = extent
  if (!(min <= max)) return isLog ? [1, 10] : [0, 1]
  if (isLog) {
    const low = Number.isFinite(positive) ? positive : 1
    return [low, Math.max(max, low * 1.01)]
  }
  return min === max ? [min - 0.5, max + 0.5] : [min, max]
}

/** Where a symmetric log scale stops being linear: the smallest size at 1 % of all. */
export function symlogThreshold(lines: readonly ChartLine[]): number {
  const sizes: number[] = []
  for (const { isVisible, curve } of lines) {
    if (!isVisible) continue
    for (let at = 0; at < curve.last.length; at += 1) {
      const size = Math.abs((curve.last[at] as number) + curve.offset)
      if (size > 0 && Number.isFinite(size)) sizes.push(size)
    }
  }
  if (sizes.length === 0) return 1
  sizes.sort((a, b) => a - b)
  return sizes[Math.floor(sizes.length / 100)] as number
}
