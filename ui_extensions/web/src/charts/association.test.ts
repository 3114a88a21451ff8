// @vitest-environment node
import { describe, expect, it } from "vitest"

import { associate, ranks } from "./association"

describe("association of a param with a metric", () => {
  it("ranks, ties shared", () => {
    expect(ranks([10, 30, 20, 20])).toEqual([1, 4, 2.5, 2.5])
  })

  it("is Spearman's for numbers, whatever their scale", () => {
    expect(associate("lr", ["1e-4", "1e-3", "0.01", "0.1"], [1, 2, 3, 40])).toMatchObject({ strength: 1, correlation: 1, n: 4 })
    // Ranks 1 2 3 4 5 and 2 1 4 3 5: rho = 1 - 6 * 4 / (5 * 24) = 0.8.
    expect(associate("x", ["1", "2", "3", "4", "5"], [2, 1, 4, 3, 5])?.correlation).toBeCloseTo(0.8, 12)
    expect(associate("x", ["1", "2", "3"], [3, 2, 1])?.correlation).toBeCloseTo(-1, 12)
  })

  it("is the correlation ratio for words", () => {
    expect(associate("o", ["a", "a", "b", "b"], [1, 1, 2, 2])?.strength).toBeCloseTo(1, 12)
    // Ranks 1 4 | 2 3: both groups have the mean of all.
    expect(associate("o", ["a", "b", "b", "a"], [1, 2, 3, 4])?.strength).toBeCloseTo(0, 12)
  })

  it("is nothing where there is nothing to compare", () => {
    expect(associate("x", ["1", "1", "1"], [1, 2, 3])).toBeNull()
    expect(associate("x", ["1", "2", null], [1, 2, 3])).toBeNull()
    expect(associate("x", ["1", "2", "3"], [1, NaN, 3])).toBeNull()
    expect(associate("name", ["a", "b", "c"], [1, 2, 3])).toBeNull()
  })
})
