/** One line of a chart: a run's curve made ready to be painted, and what is known of it. */

import type { BandCurve, Curve } from "../data/curve"

export interface ChartLine {
  /** Of the run or the group, and the metric. */
  id: string
  runId: string
  key: string
  name: string
  colour: string
  dash: 0 | 1 | 2
  isVisible: boolean
  curve: Curve
  /** What smoothing makes of it; null where it is off. */
  smoothed: Float64Array | null
  /** For a group: the edges around its line. */
  band: BandCurve | null
  /** x distances over this are a break; Infinity where lines are joined however far. */
  gap: number
}

/** Distances over 20 times the median one are a break, on axes of time. */
export function gapOf(curve: Curve): number {
  const n = curve.x.length
  if (n < 3) return Infinity
  const distances = new Float64Array(n - 1)
  for (let at = 1; at < n; at += 1) {
    distances[at - 1] = Math.abs((curve.x[at] as number) - (curve.x[at - 1] as number))
  }
  distances.sort()
  return Math.max(1, 20 * (distances[(n - 1) >> 1] as number))
}

/** A group's line as a curve, so that it is painted and found like one. */
export function bandAsCurve(band: BandCurve): Curve {
  return {
    x: band.x,
    low: band.centre,
    high: band.centre,
    last: band.centre,
    offset: 0,
    count: null,
    mean: null,
    nan: null,
    inf: null,
    piece: null,
    total: band.x.length,
    shown: band.x.length,
  }
}

/** Where each piece of a resumed run has been replaced: x from which on, by piece. */
export function replacedFrom(curve: Curve): number[] | null {
  const { piece, x } = curve
  if (piece === null) return null
  const first: number[] = []
  for (let at = 0; at < piece.length; at += 1) {
    const own = piece[at] as number
    first[own] = Math.min(first[own] ?? Infinity, x[at] as number)
  }
  const from: number[] = []
  let smallest = Infinity
  for (let own = first.length - 1; own >= 0; own -= 1) {
    from[own] = smallest
    smallest = Math.min(smallest, first[own] ?? Infinity)
  }
  return from
}

/** The bucket that an x lies in, or the nearest; -1 for none. Where x goes back, the last piece counts. */
export function nearestBucket(curve: Curve, x: number): number {
  const xs = curve.x
  const n = xs.length
  if (n === 0) return -1
  let from = 0
  if (curve.piece !== null) {
    const last = curve.piece[n - 1] as number
    while (from < n && (curve.piece[from] as number) !== last) from += 1
    if (x < (xs[from] as number)) {
      let best = 0
      for (let at = 1; at < n; at += 1) {
        if (Math.abs((xs[at] as number) - x) <= Math.abs((xs[best] as number) - x)) best = at
      }
      return best
    }
  }
  let low = from
  let high = n - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((xs[middle] as number) < x) low = middle + 1
    else high = middle
  }
  // A bucket of several points reaches back to the one before it.
  if ((curve.count?.[low] ?? 1) > 1) return low
  if (low > from && x - (xs[low - 1] as number) < (xs[low] as number) - x) return low - 1
  return low
}

/** The bucket that is drawn nearest to a place in pixels, where x goes to and fro; -1 for none. */
export function nearestByPlace(
  line: ChartLine,
  left: number,
  top: number,
  toX: (v: number) => number,
  toY: (v: number) => number,
): number {
  const { x, last, offset } = line.curve
  let best = -1
  let smallest = Infinity
  for (let at = 0; at < x.length; at += 1) {
    const distance = Math.hypot(
      toX(x[at] as number) - left,
      toY((last[at] as number) + offset) - top,
    )
    if (distance < smallest) {
      smallest = distance
      best = at
    }
  }
  return best
}
