/** Stretches of a run's time that its panels show behind their lines. */

import type { RunFacts } from "./facts"
import type { History } from "./history"

export interface Band {
  /** In ms. */
  readonly from: number
  readonly to: number
  readonly tone: "before" | "steps" | "after" | "throttled"
}

export interface Phase extends Band {
  readonly label: string
}

const ASIDE = /^(system|gradients|parameters)\//

/** The metric that tells when steps were logged: a loss, else the first there is. */
export function steppedMetric(run: RunFacts): string | null {
  const own = run.metrics.filter((metric) => !ASIDE.test(metric.key))
  return (own.find((metric) => /loss/i.test(metric.key)) ?? own[0])?.key ?? null
}

/**
 * What a run did, told from when it logged: getting ready, its steps, and what came after the last.
 *
 * @param first When the first point was logged, in ms; null before there is one.
 */
export function phasesOf(run: RunFacts, first: number | null): Phase[] {
  const begin = run.start_ms
  if (begin === null) return []
  const now = run.end_ms ?? run.now_ms
  const own = run.metrics.filter((metric) => !ASIDE.test(metric.key))
  if (first === null || own.length === 0) {
    return now > begin ? [{ from: begin, to: now, tone: "before", label: "No step yet" }] : []
  }
  const last = Math.max(first, ...own.map((metric) => metric.at_ms))
  const end = Math.max(now, last)
  const found: Phase[] = [
    { from: begin, to: first, tone: "before", label: "Before the first step" },
    { from: first, to: run.end_ms === null ? end : last, tone: "steps", label: "Steps" },
    { from: last, to: run.end_ms === null ? last : end, tone: "after", label: "After the last step" },
  ]
  return found.filter((phase) => phase.to > phase.from)
}

/** Where any of the signals is on, from a sample to the next one; they are sampled together. */
export function throttledBands(signals: readonly History[]): Band[] {
  const isOn = new Map<number, boolean>()
  for (const { x, high } of signals) {
    x.forEach((at, n) => isOn.set(at, (isOn.get(at) ?? false) || (high[n] ?? 0) > 0))
  }
  const samples = [...isOn].sort((a, b) => a[0] - b[0])
  const found: Band[] = []
  let from: number | null = null
  samples.forEach(([at, on], n) => {
    if (on && from === null) from = at
    const isLast = n === samples.length - 1
    if (from !== null && (!on || isLast)) {
      found.push({ from, to: Math.max(at, from + 1), tone: "throttled" })
      from = null
    }
  })
  return found
}

/** The share of the time from the first sample to the last that bands take, 0 to 1. */
export function shareOf(bands: readonly Band[], signals: readonly History[]): number {
  const times = signals.flatMap((one) => [one.x[0] ?? Number.NaN, one.x.at(-1) ?? Number.NaN])
  const whole = Math.max(...times) - Math.min(...times)
  const taken = bands.reduce((sum, band) => sum + band.to - band.from, 0)
  return whole > 0 ? Math.min(1, taken / whole) : 0
}
