import { describe, expect, it } from "vitest"

import { contrast, slotColour } from "./colour"
import { colouring } from "./colour-by"

const runs = (...cells: (string | number | null)[]) => cells.map((cell, at) => ({ id: `r${at}`, cell }))

describe("colour by a column", () => {
  it("gives each value a colour, in the order of values", () => {
    const found = colouring("params.lr", runs("0.1", "1e-3", "0.01", "0.1", null), "light")
    expect(found.classes.map((one) => [one.label, one.runIds, one.colour])).toEqual([
      ["1e-3", ["r1"], slotColour(0, "light")],
      ["0.01", ["r2"], slotColour(1, "light")],
      ["0.1", ["r0", "r3"], slotColour(2, "light")],
      ["no value", ["r4"], slotColour(3, "light")],
    ])
    expect(found.of("0.01").colour).toBe(slotColour(1, "light"))
  })

  it("tells 24 values apart, and says of more that they are others", () => {
    const many = runs(...Array.from({ length: 30 }, (_, n) => `name ${n}`))
    const found = colouring("tags.host", many, "dark")
    const looks = new Set(found.classes.slice(0, 24).map((one) => `${one.colour} ${one.dash}`))
    expect(looks.size).toBe(24)
    expect(found.classes.at(-1)).toMatchObject({ label: "all others", runIds: { length: 6 } })
  })

  it("divides many numbers into eight steps, by their size where they differ by much", () => {
    const even = colouring("metrics.loss:min", runs(...Array.from({ length: 80 }, (_, n) => n)), "light")
    expect(even.classes.map((one) => one.runIds.length)).toEqual(Array(8).fill(10))
    const wide = runs(...Array.from({ length: 9 }, (_, n) => String(10 ** (n - 8))), null, "NaN")
    const found = colouring("params.lr", wide.slice(0, 10), "light")
    expect(found.classes.map((one) => one.runIds.length)).toEqual([1, 1, 1, 1, 1, 1, 1, 2, 1])
    expect(found.classes.at(-1)?.label).toBe("no value")
    // A NaN among numbers is a value of a metric, and no number.
    const withNan = [...runs(...Array.from({ length: 20 }, (_, n) => n)), { id: "x", cell: "NaN" }]
    expect(colouring("metrics.loss:latest", withNan, "light").of("NaN").dash).toBe(2)
  })

  it("has 3:1 on both backgrounds", () => {
    const many = runs(...Array.from({ length: 80 }, (_, n) => n))
    for (const [theme, background] of [["light", "#ffffff"], ["dark", "#11171c"]] as const) {
      for (const one of colouring("metrics.x:latest", many, theme).classes) {
        expect(contrast(one.colour, background)).toBeGreaterThanOrEqual(3)
      }
    }
  })
})
