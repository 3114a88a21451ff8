/**
 * Smoothing of a line of buckets; each formula as `docs/charts.md` gives it. A bucket counts as
 * its points: `m` is their mean, `n` how many they are; a point is a bucket of one. NaN is passed
 * through and never bridged: after a break the line begins anew.
 */

export interface Smoothing {
  kind: "none" | "twema" | "ema" | "gauss" | "mean"
  /**
   * `twema`, `ema`: 0 to 0.999. `gauss`: standard deviation, in thousandths of the x range. `mean`:
   * how many points around each.
   */
  amount: number
  /** Draw the line as it is, faint, behind. */
  original: boolean
}

/** How many units the x range is cut into for the time-weighted average. */
const TWEMA_UNITS = 1_000

/**
 * Smooth a line.
 *
 * @param x Of each bucket; ascending within a piece.
 * @param m Mean of each bucket; NaN where it has none.
 * @param n Points of each bucket; null for one each.
 * @param range Of x, over all data of the card and not the zoom, so that zooming bends nothing.
 */
export function smooth(
  x: ArrayLike<number>,
  m: ArrayLike<number>,
  n: ArrayLike<number> | null,
  range: number,
  smoothing: Smoothing,
): Float64Array {
  const out = new Float64Array(m.length).fill(NaN)
  if (smoothing.kind === "none" || smoothing.amount <= 0) {
    for (let at = 0; at < m.length; at += 1) out[at] = m[at] as number
    return out
  }
  let start = 0
  for (let at = 0; at <= m.length; at += 1) {
    const isBreak =
      at === m.length ||
      !Number.isFinite(m[at] as number) ||
      (at > start && (x[at] as number) < (x[at - 1] as number))
    if (!isBreak) continue
    if (at > start) smoothPiece(x, m, n, range, smoothing, start, at, out)
    // A step back begins a piece with this point; a NaN is left out.
    start = at < m.length && Number.isFinite(m[at] as number) ? at : at + 1
  }
  return out
}

function smoothPiece(
  x: ArrayLike<number>,
  m: ArrayLike<number>,
  n: ArrayLike<number> | null,
  range: number,
  { kind, amount }: Smoothing,
  start: number,
  stop: number,
  out: Float64Array,
): void {
  const weight = (at: number): number => (n === null ? 1 : (n[at] as number))
  if (kind === "twema") {
    const w = Math.min(Math.sqrt(amount), 0.999)
    let sum = 0
    let debias = 0
    for (let at = start; at < stop; at += 1) {
      const gone = at === start ? 0 : (x[at] as number) - (x[at - 1] as number)
      const decay = w ** (range > 0 ? (gone / range) * TWEMA_UNITS : 1)
      sum = sum * decay + (m[at] as number)
      debias = debias * decay + 1
      out[at] = sum / debias
    }
  } else if (kind === "ema") {
    let isConstant = true
    for (let at = start + 1; at < stop && isConstant; at += 1) isConstant = m[at] === m[start]
    let level = 0
    let gone = 0
    for (let at = start; at < stop; at += 1) {
      const share = amount ** weight(at)
      level = share * level + (1 - share) * (m[at] as number)
      gone += weight(at)
      out[at] = isConstant ? (m[at] as number) : level / (1 - amount ** gone)
    }
  } else if (kind === "gauss") {
    const sigma = (amount / 1_000) * range
    let from = start
    for (let at = start; at < stop; at += 1) {
      const here = x[at] as number
      while (here - (x[from] as number) > 3 * sigma) from += 1
      let sum = 0
      let total = 0
      for (let other = from; other < stop; other += 1) {
        const distance = (x[other] as number) - here
        if (distance > 3 * sigma) break
        const own = weight(other) * Math.exp(sigma > 0 ? -(distance ** 2) / (2 * sigma ** 2) : 0)
        sum += own * (m[other] as number)
        total += own
      }
      out[at] = sum / total
    }
  } else {
    runningMean(m, weight, amount, start, stop, out)
  }
}

/** The mean of `k` points around each; the window shrinks at both ends alike. */
function runningMean(
  m: ArrayLike<number>,
  weight: (at: number) => number,
  k: number,
  start: number,
  stop: number,
  out: Float64Array,
): void {
  const half = (Math.max(1, Math.round(k)) - 1) / 2
  for (let at = start; at < stop; at += 1) {
    let sum = weight(at) * (m[at] as number)
    let total = weight(at)
    let points = 0
    for (let away = 1; at - away >= start && at + away < stop; away += 1) {
      points += (weight(at - away) + weight(at + away)) / 2
      if (points > half) break
      for (const other of [at - away, at + away]) {
        sum += weight(other) * (m[other] as number)
        total += weight(other)
      }
    }
    out[at] = sum / total
  }
}
