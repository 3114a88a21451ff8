// @vitest-environment jsdom
import { describe, expect, it } from "vitest"

import type { Curve } from "./curve"
import { continued, growthPoint } from "./curve"
import type { Column } from "./encoded-parts"
import { encoded } from "./encoded-parts"
import { PartReader } from "./parts"

const HEADER = { key: "loss", kind: "lines", level: 1, n_points: 5, most_points: 3, most_buckets: 2 }
const LINES: Column[] = [
  ["run", "u32", [0, 4]],
  ["start", "u32", [0, 2, 3]],
  ["total", "f64", [3, 9]],
  ["whole", "u8", [1, 0]],
  ["offset", "f64", [0, 100]],
  ["x", "f64", [1, 2, 7]],
  ["low", "f32", [0.5, 1, 0]],
  ["high", "f32", [2, 1, 3]],
  ["last", "f32", [1.5, 1, 2]],
  ["count", "u32", [2, 1, 2]],
]

describe("the reader of parts", () => {
  const whole = new Uint8Array([...new TextEncoder().encode("WS01"), ...encoded(HEADER, LINES), ...encoded({ ...HEADER, key: "acc" }, LINES)])

  it.each([1, 3, 8, 64, 10_000])("takes the answer in pieces of %i bytes", (size) => {
    const reader = new PartReader()
    const parts = []
    for (let at = 0; at < whole.length; at += size) parts.push(...reader.push(whole.subarray(at, at + size)))
    reader.end()
    expect(parts.map((part) => part.header.key)).toEqual(["loss", "acc"])
    const line = parts[0]?.lines.get(4)
    expect(line?.isWhole).toBe(false)
    expect(line?.curve.total).toBe(9)
    expect(line?.curve.shown).toBe(2)
    expect([...(line?.curve.x ?? [])]).toEqual([7])
    expect((line?.curve.last[0] as number) + (line?.curve.offset as number)).toBe(102)
    expect([...(parts[0]?.lines.get(0)?.curve.high ?? [])]).toEqual([2, 1])
    expect(parts[0]?.lines.get(1)).toBeUndefined()
  })

  it("knows pieces of the lines that have some alone", () => {
    const reader = new PartReader()
    reader.push(new TextEncoder().encode("WS01"))
    const [part] = reader.push(encoded(HEADER, [...LINES, ["piece", "u8", [0, 1, 0]]]))
    expect([...(part?.lines.get(0)?.curve.piece ?? [])]).toEqual([0, 1])
    expect(part?.lines.get(4)?.curve.piece).toBeNull()
  })

  it("gives every line what all of them share", () => {
    const reader = new PartReader()
    reader.push(new TextEncoder().encode("WS01"))
    const columns = LINES.map((column): Column => {
      if (column[0] === "start") return ["start", "u32", [0, 2, 4]]
      if (column[0] === "x") return ["x", "f64", [5, 6]]
      if (column[0] === "count") return ["count", "u32", [1, 2]]
      return ["low", "high", "last"].includes(column[0]) ? [column[0], "f32", [1, 2, 3, 4]] : column
    })
    const [part] = reader.push(encoded({ ...HEADER, shared: ["x", "count"] }, columns))
    for (const [run, last] of [[0, [1, 2]], [4, [3, 4]]] as const) {
      const curve = part?.lines.get(run)?.curve
      expect([...(curve?.x ?? [])]).toEqual([5, 6])
      expect(curve?.shown).toBe(3)
      expect([...(curve?.last ?? [])]).toEqual(last)
    }
  })

  it("says what the server says, and when the answer is cut or something else", () => {
    const failing = new PartReader()
    failing.push(new TextEncoder().encode("WS01"))
    expect(() => failing.push(encoded({ error: "12 points too many" }, []))).toThrow("12 points")
    const cut = new PartReader()
    cut.push(whole.subarray(0, whole.length - 1))
    expect(() => cut.end()).toThrow("cut")
    expect(() => new PartReader().push(new TextEncoder().encode("<html>"))).toThrow("no series")
    expect(() => new PartReader().end()).toThrow("cut")
  })
})

describe("a growing curve", () => {
  const curve = (x: number[], count: number[], last: number[], offset = 0): Curve => ({
    x: Float64Array.from(x),
    low: Float32Array.from(last),
    high: Float32Array.from(last),
    last: Float32Array.from(last),
    offset,
    count: Uint32Array.from(count),
    mean: null,
    nan: null,
    inf: null,
    piece: null,
    total: count.reduce((a, b) => a + b, 0),
    shown: count.reduce((a, b) => a + b, 0),
  })

  it("goes on from its last bucket, which is asked for again", () => {
    const held = curve([7, 15, 20], [8, 8, 5], [1, 2, 3], 10)
    expect(growthPoint(held)).toEqual({ from: 16, have: 16 })
    const more = { ...curve([23, 25], [8, 2], [4, 5], 20), total: 26 }
    const grown = continued(held, more)
    expect([...grown.x]).toEqual([7, 15, 23, 25])
    expect([...grown.last]).toEqual([11, 12, 24, 25])
    expect([...(grown.count ?? [])]).toEqual([8, 8, 8, 2])
    expect(grown.total).toBe(26)
  })

  it("is asked for whole where it has pieces or nothing to go on from", () => {
    expect(growthPoint(curve([3], [4], [1]))).toBeNull()
    expect(growthPoint({ ...curve([3, 1], [1, 1], [1, 2]), piece: Uint8Array.from([0, 1]) })).toBeNull()
  })
})
