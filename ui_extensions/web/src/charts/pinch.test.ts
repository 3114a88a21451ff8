// @vitest-environment node
import { describe, expect, it } from "vitest"

import { pinched } from "./pinch"

describe("two fingers", () => {
  it("keep what lies under them", () => {
    const ends = pinched([100, 200], [50, 250], 300)
    expect(ends).toEqual([75, 225])
    const [left, right] = ends as [number, number]
    const place = (pixel: number): number => ((pixel - left) / (right - left)) * 300
    expect(place(100)).toBeCloseTo(50)
    expect(place(200)).toBeCloseTo(250)
  })

  it("go out too, in either order", () => {
    expect(pinched([250, 50], [200, 100], 300)).toEqual([-150, 450])
  })

  it("say nothing where they touch or cross", () => {
    expect(pinched([100, 110], [50, 250], 300)).toBeNull()
    expect(pinched([100, 200], [250, 50], 300)).toBeNull()
  })
})
