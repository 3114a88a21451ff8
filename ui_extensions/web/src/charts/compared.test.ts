// @vitest-environment node
import { describe, expect, it } from "vitest"

import { barsOfRuns } from "./bars-card"
import { csvText } from "./figure-files"
import { nearestMark } from "./figure"
import { strongest } from "./strongest"
import type { DrawnRun } from "./types"
import type { CellRow } from "./use-cells"
import { numberOf } from "./use-cells"
import { roundNumbers, valueAxis } from "./value-axis"

function row(id: string, ...cells: CellRow["cells"]): CellRow {
  return { run: { id, name: `name ${id}`, colour: "#111111", isVisible: true } as DrawnRun, cells }
}

describe("an axis of values", () => {
  it("is of numbers where all are, by magnitude where they span some", () => {
    const axis = valueAxis("params.lr", ["0.1", "1e-4", null, "", "0.01"], null, 5)
    expect(axis).toMatchObject({ isNumber: true, isLog: true })
    expect([axis.place("1e-4"), axis.place("0.1")]).toEqual([1 / 32, 31 / 32])
    expect(axis.place("0.01")).toBeCloseTo(1 / 32 + (0.9375 * 2) / 3)
    expect([null, "", "x", "NaN", "Infinity"].map(axis.place)).toEqual([null, null, null, null, null])
    expect(axis.ticks.map((one) => one.text)).toEqual(["0.0001", "0.001", "0.01", "0.1"])
    expect(valueAxis("params.lr", ["0.1", "1e-4"], false, 5).isLog).toBe(false)
    // What is not above 0 has no place on it, and takes no other's.
    const asked = valueAxis("metrics.a:latest", [-1, 0, 10, 1000], true, 5)
    expect([-1, 0].map(asked.place)).toEqual([null, null])
    expect(asked.place(10)).toBe(1 / 32)
  })

  it("is of words where one is none, in the order in which people count", () => {
    const axis = valueAxis("params.layers", ["a10", "a9", "a10", null], null, 5)
    expect(axis.isNumber).toBe(false)
    expect(axis.ticks.map((one) => one.text)).toEqual(["a9", "a10"])
    expect([axis.place("a9"), axis.place("a10"), axis.place("a11")]).toEqual([1 / 32, 31 / 32, null])
  })

  it("stands for one value, for none, and for odd ones", () => {
    expect(valueAxis("params.x", ["5", "5"], null, 5).place("5")).toBe(0.5)
    expect(valueAxis("metrics.x:latest", ["NaN", null], null, 5).ticks).toEqual([])
    expect(valueAxis("params.__proto__", ["__proto__", "constructor"], null, 5).place("constructor")).toBe(31 / 32)
    expect(roundNumbers(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1])
    expect(roundNumbers(3, 3, 5)).toEqual([3])
  })
})

describe("bars of runs", () => {
  const rows = [row("a", 3, "x"), row("b", "NaN", "x"), row("c", -1, "x"), row("d", 2, null), row("e", null, "y")]
  const colour = (at: number): string => `c${at}`

  it("are one a run that has a finite value", () => {
    expect(barsOfRuns(rows, false, null, colour, false).map((bar) => [bar.runId, bar.value])).toEqual([["a", 3], ["d", 2], ["c", -1]])
    expect(barsOfRuns(rows, false, null, colour, true).map((bar) => bar.runId)).toEqual(["c", "d", "a"])
  })

  it("are the mean of those that have the same, with how far they go", () => {
    expect(barsOfRuns(rows, true, null, colour, true)).toEqual([
      { id: "by:x", label: "x", colour: "c1", value: 1, low: -1, high: 3, n: 2, runId: null },
      { id: "by:—", label: "—", colour: "c0", value: 2, low: 2, high: 2, n: 1, runId: null },
    ])
    const groups = [{ key: "g", label: "G", colour: "#222222", runIds: ["a", "c", "e"] }]
    expect(barsOfRuns(rows, false, groups, colour, false)).toMatchObject([{ label: "G", value: 1, n: 2 }])
  })
})

describe("a panel", () => {
  it("takes the params first that go with what it is about", () => {
    const all = [1, 2, 3, 4].map((n) => row(`r${n}`, n, "same", ["b", "a", "b", "a"][n - 1] ?? null, String(-n)))
    expect(strongest(all, ["params.same", "params.word", "params.n"])).toEqual(["params.n", "params.word", "params.same"])
  })

  it("means the mark that is near, and none where none is", () => {
    const marks = [10, 50].map((x) => ({ run: row("a").run, x, y: 10, facts: [] }))
    expect([nearestMark(marks, 14, 12), nearestMark(marks, 48, 5), nearestMark(marks, 30, 60)]).toEqual([0, 1, -1])
  })

  it("reads numbers of cells, and writes files without a formula", () => {
    expect([null, "", "1e3", "abc", "NaN", "Infinity", 2].map(numberOf)).toEqual([null, null, 1000, null, NaN, Infinity, 2])
    expect(csvText(["run", "x"], [["=1+1", null], ['a"b', 2]])).toBe('"run","x"\r\n"\'=1+1",""\r\n"a""b",2\r\n')
  })
})
