/**
 * Lines made of lines that were published: groups of runs with a band, as `store/metrics/bands.py`
 * makes them, and lines over another metric or without pauses, as `store/metrics/axes.py` does. Of
 * a run that was published in buckets, each bucket counts as its mean, or as its last point.
 */

import type { BandCurve, Curve } from "../data/curve"

const PAUSE_FACTOR = 20
const PAUSE_MS = 60_000
const LARGEST = 1.7e308

/** One run's value in each cell where it has one: the mean of its finite values there. */
interface RunCells {
  readonly cells: ReadonlyMap<number, { readonly x: number; readonly value: number }>
}

/**
 * Combine runs into one line with a band.
 *
 * @param width Of a cell, along x.
 */
export function bandOf(curves: readonly Curve[], width: number, centre: string, band: string): BandCurve | null {
  const cells = new Map<number, { x: number; values: number[] }>()
  for (const curve of curves) {
    for (const [cell, { x, value }] of cellsOf(curve, width).cells) {
      const found = cells.get(cell)
      if (found === undefined) cells.set(cell, { x, values: [value] })
      else {
        found.x = Math.max(found.x, x)
        found.values.push(value)
      }
    }
  }
  const found = [...cells].sort(([a], [b]) => a - b)
  const n = found.length
  if (n === 0) return null
  const made = {
    x: new Float64Array(n),
    n: new Uint32Array(n),
    centre: new Float64Array(n),
    low: new Float64Array(n),
    high: new Float64Array(n),
  }
  found.forEach(([, { x, values }], at) => {
    values.sort((a, b) => a - b)
    const [middle, low, high] = summed(values, centre, band)
    made.x[at] = x
    made.n[at] = values.length
    made.centre[at] = middle
    made.low[at] = values.length > 1 ? low : NaN
    made.high[at] = values.length > 1 ? high : NaN
  })
  return made
}

/**
 * How wide cells are, so that all of x fits into so many of them.
 *
 * @param finest Of whole numbers cells are `2 ** level` wide, as the server's, and never finer than
 *   this level; null where x is another metric.
 */
export function widthOf(curves: readonly Curve[], nBuckets: number, finest: number | null): number {
  let [low, high] = [Infinity, -Infinity]
  for (const { x } of curves) {
    for (const one of x) {
      low = Math.min(low, one)
      high = Math.max(high, one)
    }
  }
  if (finest === null) return high > low ? high / nBuckets - low / nBuckets : 1
  let level = finest
  while (level < 63 && Math.floor(high / 2 ** level) - Math.floor(low / 2 ** level) + 1 > nBuckets) level += 1
  return 2 ** level
}

function cellsOf(curve: Curve, width: number): RunCells {
  const { x, last, mean, count, nan, offset } = curve
  const sums = new Map<number, { x: number; sum: number; weight: number }>()
  for (let at = 0; at < x.length; at += 1) {
    const value = ((mean ?? last)[at] as number) + offset
    if (!Number.isFinite(value)) continue
    const place = x[at] as number
    const weight = Math.max(1, (count?.[at] ?? 1) - (nan?.[at] ?? 0))
    const cell = Math.floor(place / width)
    const found = sums.get(cell)
    if (found === undefined) sums.set(cell, { x: place, sum: value * weight, weight })
    else {
      found.x = Math.max(found.x, place)
      found.sum += value * weight
      found.weight += weight
    }
  }
  return { cells: new Map([...sums].map(([cell, one]) => [cell, { x: one.x, value: one.sum / one.weight }])) }
}

/** @param values Ascending. */
function summed(values: readonly number[], centre: string, band: string): readonly [number, number, number] {
  const n = values.length
  const mean = values.reduce((sum, value) => sum + value / n, 0)
  const quantile = (q: number): number => {
    const place = q * (n - 1)
    const below = Math.floor(place)
    const lower = values[below] as number
    const upper = values[Math.min(below + 1, n - 1)] as number
    return lower + (upper - lower) * (place - below)
  }
  const [smallest, largest] = [values[0] as number, values[n - 1] as number]
  const middle = { median: quantile(0.5), min: smallest, max: largest }[centre] ?? mean
  if (band === "minmax") return [middle, smallest, largest]
  if (band === "p10p90") return [middle, quantile(0.1), quantile(0.9)]
  if (band !== "sd" && band !== "se") return [middle, NaN, NaN]
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const spread = Math.sqrt(squares / Math.max(1, n - 1)) / (band === "se" ? Math.sqrt(n) : 1)
  return [middle, middle - spread, middle + spread]
}

/**
 * Draw a line over another metric of the same run, both along steps: at each point the other's
 * value at that step, or at the nearest earlier one within its logging interval.
 */
export function joined(y: Curve, other: Curve): Curve | null {
  const inOrder = (curve: Curve): number[] =>
    [...curve.x.keys()].sort((a, b) => (curve.x[a] as number) - (curve.x[b] as number) || a - b)
  const steps = inOrder(other)
  const distances = steps.slice(1).map((at, n) => (other.x[at] as number) - (other.x[steps[n] as number] as number))
  const interval = medianOf(distances)
  const kept: number[] = []
  const x: number[] = []
  let place = -1
  for (const at of inOrder(y)) {
    const step = y.x[at] as number
    while (place + 1 < steps.length && (other.x[steps[place + 1] as number] as number) <= step) place += 1
    if (place < 0) continue
    const from = steps[place] as number
    const value = (other.last[from] as number) + other.offset
    if (step - (other.x[from] as number) > interval || !(Math.abs(value) < LARGEST)) continue
    kept.push(at)
    x.push(value)
  }
  if (kept.length === 0) return null
  const taken = taking(y, kept)
  return { ...taken, x: Float64Array.from(x), piece: null, total: y.total }
}

function taking(curve: Curve, places: readonly number[]): Curve {
  const numbers = (of: Float64Array | Float32Array): Float64Array => Float64Array.from(places, (at) => of[at] as number)
  const count = curve.count && Uint32Array.from(places, (at) => curve.count?.[at] as number)
  return {
    ...curve,
    low: numbers(curve.low),
    high: numbers(curve.high),
    last: numbers(curve.last),
    count,
    mean: curve.mean && numbers(curve.mean),
    nan: curve.nan && Uint32Array.from(places, (at) => curve.nan?.[at] as number),
    inf: curve.inf && Uint8Array.from(places, (at) => curve.inf?.[at] as number),
    shown: count === null ? places.length : count.reduce((sum, n) => sum + n, 0),
  }
}

/** A line along the time since its run began, without the pauses in which nobody was running. */
export function withoutPauses(curve: Curve): Curve {
  const n = curve.x.length
  if (n < 3) return curve
  const distances = Array.from({ length: n - 1 }, (_, at) => (curve.x[at + 1] as number) - (curve.x[at] as number))
  const usual = medianOf(distances)
  const x = Float64Array.from(curve.x)
  let paused = 0
  for (let at = 1; at < n; at += 1) {
    const distance = distances[at - 1] as number
    if (distance > Math.max(PAUSE_MS, PAUSE_FACTOR * usual)) paused += distance - Math.round(usual)
    x[at] = (x[at] as number) - paused
  }
  return { ...curve, x }
}

function medianOf(values: readonly number[]): number {
  const n = values.length
  if (n === 0) return 0
  const sorted = [...values].sort((a, b) => a - b)
  return ((sorted[(n - 1) >> 1] as number) + (sorted[n >> 1] as number)) / 2
}
