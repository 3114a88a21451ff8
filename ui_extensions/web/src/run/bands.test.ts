import { describe, expect, it } from "vitest"

import {
  phasesOf,
  shareOf,
  steppedMetric,
  throttledBands,
  validationBands,
  validationMetric,
} from "./bands"
import type { RunFacts } from "./facts"
import type { History } from "./history"

const metric = (key: string, at_ms: number) => ({ key, last: 1, step: 1, at_ms, min: 1, max: 1 })
const run = (more: Partial<RunFacts>): RunFacts =>
  ({
    start_ms: 1_000,
    end_ms: 9_000,
    now_ms: 20_000,
    metrics: [metric("system/gpu_0", 8_900), metric("acc", 6_000), metric("val/loss", 7_000)],
    ...more,
  }) as RunFacts
const history = (...points: [number, number][]): History => {
  const value = Float64Array.from(points, ([, one]) => one)
  return { x: Float64Array.from(points, ([at]) => at), value, low: value, high: value }
}

describe("phases of a run", () => {
  it("are told from when it logged", () => {
    expect(steppedMetric(run({}))).toBe("acc")
    expect(steppedMetric(run({ metrics: [metric("eval_loss", 1)] }))).toBe("eval_loss")
    expect(validationMetric(run({}))).toBe("val/loss")
    expect(validationMetric(run({ metrics: [metric("value", 1)] }))).toBeNull()
    expect(phasesOf(run({}), 3_000).map((one) => [one.tone, one.from, one.to])).toEqual([
      ["before", 1_000, 3_000],
      ["steps", 3_000, 7_000],
      ["after", 7_000, 9_000],
    ])
  })

  it("have no end while it runs, and none but the first before it logs", () => {
    expect(phasesOf(run({ end_ms: null }), 3_000).map((one) => [one.tone, one.to])).toEqual([
      ["before", 3_000],
      ["steps", 20_000],
    ])
    expect(phasesOf(run({ metrics: [], end_ms: null }), null)).toEqual([
      { from: 1_000, to: 20_000, tone: "before", label: "No step yet" },
    ])
    expect(phasesOf(run({ start_ms: null }), 3_000)).toEqual([])
  })
})

describe("validation", () => {
  const at = (...times: number[]): History => history(...times.map((one): [number, number] => [one, 0]))
  const spans = (training: History, validation: History): number[][] =>
    validationBands(training, validation).map((one) => [one.from, one.to])

  it("lasts from the last step before it to its own point", () => {
    const steps = at(0, 10, 20, 30, 90, 100, 110, 120, 130, 190)
    expect(spans(steps, at(80, 185))).toEqual([
      [30, 80],
      [130, 185],
    ])
    // As long as a step, or logged along with one, it is none.
    expect(spans(steps, at(44, 120, 185))).toEqual([[130, 185]])
    expect(spans(steps, at())).toEqual([])
    expect(spans(at(), at(10))).toEqual([])
  })

  it("is told from epochs too, and from what is logged with them not", () => {
    expect(spans(at(100, 220, 340), at(120, 240, 360))).toEqual([
      [100, 120],
      [220, 240],
      [340, 360],
    ])
    expect(spans(at(100, 220, 340), at(101, 221, 341))).toEqual([])
    expect(spans(at(100, 220, 340), at(99, 219, 339))).toEqual([])
  })
})

describe("throttling", () => {
  it("lasts from a sample to the next, whichever signal says so", () => {
    const power = history([0, 0], [10, 1], [20, 0], [30, 0], [40, 1])
    const heat = history([0, 0], [10, 0], [20, 1], [30, 0], [40, 0])
    const bands = throttledBands([power, heat])
    expect(bands.map((one) => [one.from, one.to])).toEqual([
      [10, 30],
      [40, 41],
    ])
    expect(shareOf(bands, [power, heat])).toBeCloseTo(21 / 40)
    expect(throttledBands([history()])).toEqual([])
  })
})
