/** Stretches of a run's time that its panels show behind their lines. */

import type { RunFacts } from "./facts"
import type { History } from "./history"

export interface Band {
  /** In ms. */
  readonly from: number
  readonly to: number
  readonly tone: "before" | "steps" | "after" | "validation" | "throttled"
}

export interface Phase extends Band {
  readonly label: string
}

const ASIDE = /^(system|gradients|parameters)\//
/** As Lightning, Keras, Hugging Face's Trainer and most loops name them. */
const VALIDATION = /^(val|valid|validation|eval|dev)([/_.-]|$)/i

/** The metric that tells when steps were logged: a loss of the training, else the first there is. */
export function steppedMetric(run: RunFacts): string | null {
  const own = run.metrics.filter((metric) => !ASIDE.test(metric.key))
  const training = own.filter((metric) => !VALIDATION.test(metric.key))
  return (
    [training, own].flatMap((some) => some.find((metric) => /loss/i.test(metric.key)) ?? some[0] ?? [])[0]
      ?.key ?? null
  )
}

/** The metric that tells when a validation had ended: a loss, else the first; null where there is none. */
export function validationMetric(run: RunFacts): string | null {
  const own = run.metrics.filter((metric) => VALIDATION.test(metric.key))
  return (own.find((metric) => /loss/i.test(metric.key)) ?? own[0])?.key ?? null
}

/**
 * When a run validated: from the last point of its training to the point of the validation, which
 * is logged when it is over. What was logged together with a step took no time of its own.
 *
 * @param training Times of what the training logs, in ms.
 * @param validation Times of what the validation logs, in ms.
 */
export function validationBands(training: History, validation: History): Band[] {
  const steps = training.x
  const gaps = Array.from(steps.subarray(1), (at, n) => at - (steps[n] ?? 0)).sort((a, b) => a - b)
  const usual = gaps[gaps.length >> 1] ?? 0
  // Between points of many steps it cannot be told from training, what is shorter than that.
  const isEachStep = steps.length > 3 * validation.x.length
  const shortest = usual * (isEachStep ? 1.5 : 0.02)
  const found: Band[] = []
  let before = 0
  let ended = -Infinity
  for (const at of validation.x) {
    while (before < steps.length && (steps[before] ?? Infinity) <= at) before += 1
    const from = Math.max(steps[before - 1] ?? Number.NaN, ended)
    const next = steps[before] ?? Infinity
    // Logged just before its step.
    const isTogether = next - at < 0.02 * usual
    if (at - from > shortest && !isTogether) found.push({ from, to: at, tone: "validation" })
    ended = at
  }
  return found
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
