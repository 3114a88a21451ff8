// @vitest-environment node
import { describe, expect, it } from "vitest"

import { smooth } from "./smoothing"

const X = [0, 1, 2, 3, 4]
const Y = [1, 3, 2, 5, 4]
const of = (kind: "twema" | "ema" | "gauss" | "mean", amount: number) => ({
  kind,
  amount,
  original: true,
})
const close = (found: Float64Array, expected: number[]): void => {
  expect([...found].length).toBe(expected.length)
  expected.forEach((value, at) => expect(found[at]).toBeCloseTo(value, 12))
}

describe("smoothing, against numbers worked out by hand", () => {
  it("ema: TensorBoard's, debiased", () => {
    // s = 0.5: L = .5, 1.75, 1.875, 3.4375, 3.71875; divided by 1 - .5^i.
    close(smooth(X, Y, null, 4, of("ema", 0.5)), [
      1,
      1.75 / 0.75,
      1.875 / 0.875,
      3.4375 / 0.9375,
      3.71875 / 0.96875,
    ])
  })

  it("ema of buckets: the exponent counts points", () => {
    // A bucket of 2 points with mean 3 after one of 1: L = .25*.5 + .75*3 = 2.375; / (1 - .5^3).
    close(smooth([0, 2], [1, 3], [1, 2], 2, of("ema", 0.5)), [1, 2.375 / 0.875])
  })

  it("twema: decays by the distance in thousandths of the range", () => {
    const w = Math.sqrt(0.25) ** ((1 / 1_000) * 1_000)
    // Range 1000, distance 1: w = .5 a step. S = 1, 3.5, 3.75; D = 1, 1.5, 1.75.
    expect(w).toBe(0.5)
    close(smooth([0, 1, 2], [1, 3, 2], null, 1_000, of("twema", 0.25)), [1, 3.5 / 1.5, 3.75 / 1.75])
    // A distance of 2 decays twice.
    close(smooth([0, 2], [1, 3], null, 1_000, of("twema", 0.25)), [1, 3.25 / 1.25])
  })

  it("gauss: looks both ways, cut at three sigma, weighted by points", () => {
    // sigma = 1 (range 1000, amount 1): weights 1 and e^-.5.
    const e = Math.exp(-0.5)
    close(smooth([0, 1, 10], [1, 3, 7], null, 1_000, of("gauss", 1)), [
      (1 + 3 * e) / (1 + e),
      (e + 3) / (1 + e),
      7,
    ])
    close(smooth([0, 1], [1, 3], [1, 5], 1_000, of("gauss", 1)), [
      (1 + 15 * e) / (1 + 5 * e),
      (e + 15) / (e + 5),
    ])
  })

  it("mean: k points around, fewer at the ends", () => {
    close(smooth(X, Y, null, 4, of("mean", 3)), [1, 2, 10 / 3, 11 / 3, 4])
    close(smooth(X, Y, null, 4, of("mean", 5)), [1, 2, 3, 11 / 3, 4])
    close(smooth([0, 1, 2], [1, 3, 2], [1, 2, 1], 2, of("mean", 3)), [1, 9 / 4, 2])
  })

  it("never bridges NaN, and begins anew after it and after a step back", () => {
    for (const kind of ["twema", "ema", "gauss", "mean"] as const) {
      const whole = smooth([0, 1, 2, 3], [1, 2, 5, 6], null, 3, of(kind, 0.9))
      const cut = smooth([0, 1, 2, 3, 4], [1, 2, NaN, 5, 6], null, 3, of(kind, 0.9))
      expect(cut[2]).toBeNaN()
      expect(cut[3]).toBe(5)
      expect([cut[0], cut[1]]).toEqual([whole[0], smooth([0, 1], [1, 2], null, 3, of(kind, 0.9))[1]])
      expect(smooth([0, 1, 0, 1], [1, 2, 7, 8], null, 3, of(kind, 0.9))[2]).toBe(7)
    }
  })

  it("leaves a constant line and no smoothing as they are", () => {
    close(smooth(X, [2, 2, 2, 2, 2], null, 4, of("ema", 0.99)), [2, 2, 2, 2, 2])
    close(smooth(X, Y, null, 4, { kind: "none", amount: 0.9, original: false }), Y)
    close(smooth(X, Y, null, 4, of("twema", 0)), Y)
  })
})
