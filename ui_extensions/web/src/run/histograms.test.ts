import { expect, it } from "vitest"

import { logShare, positiveRange } from "./histograms"

it("scales by magnitude, and has no place for zero, NaN and infinity", () => {
  expect(positiveRange([0, Number.NaN, 1e-4, 10, Number.POSITIVE_INFINITY])).toEqual([1e-4, 10])
  expect(positiveRange([Number.NaN, 0])).toBeNull()
  expect(logShare(1e-4, 1e-4, 1e4)).toBe(0)
  expect(logShare(1, 1e-4, 1e4)).toBeCloseTo(0.5)
  expect(logShare(1e9, 1e-4, 1e4)).toBe(1)
  expect(logShare(0, 1e-4, 1e4)).toBeNull()
  expect(logShare(Number.NaN, 1, 2)).toBeNull()
  expect(logShare(3, 3, 3)).toBe(0.5)
})
