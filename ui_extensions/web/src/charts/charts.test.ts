// @vitest-environment node
import { describe, expect, it } from "vitest"

import type { Curve } from "../data/curve"
import { csvCell, csvOf, fileName, marksOf, svgOf } from "./export"
import { legendRows } from "./legend"
import type { LineChart } from "./line-chart"
import type { ChartLine } from "./line"
import { nearestBucket, replacedFrom } from "./line"
import { exactRange, padded, xExtent, yExtent } from "./range"
import type { Scale } from "./scale"
import { toPixel, toValue } from "./scale"
import { COMPARED, comparedSection, FAVOURITES, OWN, placeBeside, sectionsOf, withCard, withMoved, withSection } from "./sections"
import { tick, ticks } from "./ticks"
import type { CardLayout } from "./types"
import { EMPTY_LAYOUT, layoutOf, settingsOf } from "./types"

function curve(x: number[], last: number[], more: Partial<Curve> = {}): Curve {
  return {
    x: Float64Array.from(x),
    low: Float64Array.from(last),
    high: Float64Array.from(last),
    last: Float64Array.from(last),
    offset: 0,
    count: null,
    mean: null,
    nan: null,
    inf: null,
    piece: null,
    total: x.length,
    shown: x.length,
    ...more,
  }
}

function line(own: Curve, isVisible = true): ChartLine {
  return {
    id: "a",
    runId: "a",
    key: "m",
    name: "a",
    colour: "#000",
    dash: 0,
    isVisible,
    curve: own,
    smoothed: null,
    band: null,
    gap: Infinity,
  }
}

describe("scales", () => {
  it.each(["linear", "log", "symlog"] as const)("%s goes there and back", (kind) => {
    for (const isFlipped of [false, true]) {
      const scale: Scale = { kind, min: 0.5, max: 200, threshold: 0.1, size: 300, isFlipped }
      expect(toPixel(scale)(0.5)).toBeCloseTo(isFlipped ? 300 : 0)
      expect(toPixel(scale)(200)).toBeCloseTo(isFlipped ? 0 : 300)
      for (const value of [0.5, 1, 42, 200]) {
        expect(toValue(scale, toPixel(scale)(value))).toBeCloseTo(value, 6)
      }
    }
    expect(toPixel({ kind: "log", min: 1, max: 10, threshold: 1, size: 10, isFlipped: false })(0)).toBeNaN()
  })
})

describe("ranges", () => {
  it("are of visible lines, finite values and the x in view", () => {
    const lines = [
      line(curve([0, 1, 2], [1, 5, NaN], { low: Float64Array.from([0, 4, NaN]), high: Float64Array.from([2, 9, NaN]) })),
      line(curve([0, 50], [-100, 100]), false),
    ]
    expect(xExtent(lines)).toMatchObject({ min: 0, max: 2 })
    expect(yExtent(lines, 0, 2, false)).toMatchObject({ min: 0, max: 9, positive: 2 })
    expect(yExtent(lines, 0, 0.5, false)).toMatchObject({ min: 0, max: 2 })
  })

  it("leave outliers out only where asked to", () => {
    const last = Array.from({ length: 1_000 }, (_, at) => (at === 500 ? 1e6 : at % 10))
    const lines = [line(curve(last.map((_, at) => at), last))]
    expect(yExtent(lines, 0, 1_000, false).max).toBe(1e6)
    expect(yExtent(lines, 0, 1_000, true).max).toBeLessThan(10)
  })

  it("have room, also around nothing, one value and no positive one", () => {
    const none = { min: Infinity, max: -Infinity, positive: Infinity }
    expect(padded(none, "linear")).toEqual([0, 1])
    expect(padded({ min: 5, max: 5, positive: 5 }, "linear")).toEqual([4.5, 5.5])
    const [low, high] = padded({ min: -3, max: 0, positive: Infinity }, "log")
    expect(low).toBeGreaterThan(0)
    expect(high).toBeGreaterThan(low)
    expect(exactRange({ min: 0, max: 100, positive: 1 }, true)).toEqual([1, 100])
    expect(exactRange({ min: 7, max: 7, positive: 7 }, false)).toEqual([6.5, 7.5])
  })
})

describe("lines", () => {
  it("know the bucket nearest to an x", () => {
    const own = curve([0, 10, 20, 30], [1, 2, 3, 4])
    expect([-5, 4, 6, 24, 26, 99].map((x) => nearestBucket(own, x))).toEqual([0, 0, 1, 2, 3, 3])
    const buckets = curve([7, 15, 23], [1, 2, 3], { count: Uint32Array.from([8, 8, 8]) })
    expect([0, 7, 8, 9, 15, 16, 99].map((x) => nearestBucket(buckets, x))).toEqual([0, 0, 1, 1, 1, 2, 2])
    expect(nearestBucket(curve([], []), 3)).toBe(-1)
    const resumed = curve([0, 10, 20, 5, 15], [1, 2, 3, 4, 5], { piece: Uint8Array.from([0, 0, 0, 1, 1]) })
    expect(nearestBucket(resumed, 14)).toBe(4)
    expect(nearestBucket(resumed, 1)).toBe(0)
  })

  it("know what a resumed run replaced", () => {
    const resumed = curve([0, 10, 20, 5, 15, 12], [1, 2, 3, 4, 5, 6], { piece: Uint8Array.from([0, 0, 0, 1, 1, 2]) })
    expect(replacedFrom(resumed)).toEqual([5, 12, Infinity])
    expect(replacedFrom(curve([1], [1]))).toBeNull()
  })
})

describe("sections", () => {
  const keys = ["acc", "gradients/a/norm", "train/acc", "train/loss", "__proto__/x"]

  it("are by prefix, those of machines closed, and found by words", () => {
    const found = sectionsOf(keys, EMPTY_LAYOUT, 3, "")
    expect(found.map((one) => [one.prefix, one.isOpen, one.cards.length])).toEqual([
      ["", true, 1],
      ["__proto__", true, 1],
      ["train", true, 2],
      ["gradients/a", false, 1],
    ])
    expect(sectionsOf(keys, EMPTY_LAYOUT, 3, "ACC tr").map((one) => one.cards.map((c) => c.id))).toEqual([["train/acc"]])
    expect(sectionsOf(keys, EMPTY_LAYOUT, 3, "nowhere")).toEqual([])
  })

  it("keep what was arranged, and take in what is new", () => {
    const [, , train] = sectionsOf(keys, EMPTY_LAYOUT, 3, "")
    if (!train) throw new Error("no section")
    const sections = sectionsOf(keys, EMPTY_LAYOUT, 3, "")
    const swapped = withMoved(EMPTY_LAYOUT, sections, "train", "train/loss", { prefix: "train", before: "train/acc" })
    const cards = swapped.sections[0]?.cards.map((card) => ({ ...card, h: 20 })) ?? []
    const layout = withSection(EMPTY_LAYOUT, { ...train, cards })
    const again = sectionsOf([...keys, "train/new"], layout, 3, "")
    expect(again.map((one) => one.prefix)).toEqual(["", "__proto__", "train", "gradients/a"])
    expect(again[2]?.cards.map((card) => [card.id, card.h])).toEqual([["train/loss", 20], ["train/acc", 20], ["train/new", 15]])
    const kept = layoutOf(JSON.parse(JSON.stringify(layout)))
    expect(kept).toEqual(layout)
    expect(sectionsOf(keys, { ...kept, favourites: ["acc", "gone"] }, 3, "")[0]?.cards[0]?.keys).toEqual(["acc"])
  })

  const ids = (of: ReturnType<typeof sectionsOf>, prefix: string): string[] =>
    of.find((one) => one.prefix === prefix)?.cards.map((card) => card.id) ?? []

  it("have panels among charts, and charts anywhere, each once", () => {
    const first = comparedSection()
    const before = sectionsOf(keys, EMPTY_LAYOUT, 3, "", first)
    expect(before[0]).toMatchObject({ prefix: COMPARED, isOpen: false, columns: 3 })
    const layout = withMoved(EMPTY_LAYOUT, before, COMPARED, "panel-scatter", { prefix: "train", before: "train/loss" })
    const there = sectionsOf(keys, layout, 3, "", first)
    expect(ids(there, "train")).toEqual(["train/acc", "panel-scatter", "train/loss"])
    expect(ids(there, COMPARED)).not.toContain("panel-scatter")
    // A metric's card is where it was put, and nowhere else; a section that lost all its metrics has it still.
    const moved = withMoved(layout, there, "", "acc", { prefix: "train", before: null })
    const all = sectionsOf(keys, moved, 3, "", first)
    expect(ids(all, "train")).toEqual(["train/acc", "panel-scatter", "train/loss", "acc"])
    expect(all.map((one) => one.prefix)).toEqual([COMPARED, "__proto__", "train", "gradients/a"])
    expect(ids(sectionsOf(["acc"], moved, 3, "", first), "train")).toEqual(["panel-scatter", "acc"])
    expect(layoutOf(JSON.parse(JSON.stringify(moved)))).toEqual(moved)
  })

  it("are left without what was removed, and keep their place in an older view", () => {
    const first = comparedSection()
    const removed = withSection(EMPTY_LAYOUT, { ...first, cards: [] })
    expect(sectionsOf(keys, removed, 3, "", first).map((one) => one.prefix)).not.toContain(COMPARED)
    // Views from before these panels were cards say nothing of them.
    const older = layoutOf({ sections: [{ prefix: "train", isOpen: false, columns: 2, cards: [] }], favourites: ["acc"] })
    const found = sectionsOf(keys, older, 3, "", first)
    expect(found.map((one) => one.prefix)).toEqual([FAVOURITES, COMPARED, "", "__proto__", "train", "gradients/a"])
    expect(found[1]?.cards.map((card) => card.kind)).toEqual(["importance", "scatter", "bars", "parallel", "compare", "media"])
    expect(found[4]).toMatchObject({ isOpen: false, columns: 2 })
    expect(sectionsOf(keys, older, 3, "scatter", first).map((one) => one.cards.length)).toEqual([1])
  })

  it("give a card to the open one beside, by keys", () => {
    const sections = sectionsOf(keys, EMPTY_LAYOUT, 3, "", comparedSection())
    expect(placeBeside(sections, "train", "train/acc", false)).toEqual({ prefix: "train", before: null })
    expect(placeBeside(sections, "train", "train/acc", true)).toEqual({ prefix: "__proto__", before: null })
    // The next one is closed.
    expect(placeBeside(sections, "train", "train/loss", false)).toBeNull()
    expect(placeBeside(sections, "", "acc", false)).toEqual({ prefix: "__proto__", before: "__proto__/x" })
  })

  it("order favourites, which no other card comes into", () => {
    const layout = { sections: [], favourites: ["acc", "train/acc"] }
    const sections = sectionsOf(keys, layout, 3, "")
    const id = `${FAVOURITES}train/acc`
    expect(withMoved(layout, sections, FAVOURITES, id, { prefix: FAVOURITES, before: `${FAVOURITES}acc` }).favourites).toEqual(["train/acc", "acc"])
    expect(withMoved(layout, sections, "train", "train/loss", { prefix: FAVOURITES, before: null })).toBe(layout)
    expect(withMoved(layout, sections, FAVOURITES, id, { prefix: "train", before: null })).toBe(layout)
  })

  it("read a panel from a kept view, and no more of it than there is", () => {
    const panel: CardLayout = { id: "p", kind: "scatter", keys: [], isOwn: true, w: 1, h: 15, columns: ["params.lr", "metrics.loss:min"] }
    const layout = withCard(EMPTY_LAYOUT, [], OWN, panel)
    expect(layoutOf(JSON.parse(JSON.stringify(layout)))).toEqual(layout)
    const odd = { ...panel, kind: "compare", columns: [1, null], parts: ["params", 7], isWhole: "yes", isUp: true }
    const read = layoutOf({ sections: [{ prefix: OWN, cards: [odd, { ...panel, kind: "evil" }] }] })
    expect(read.sections[0]?.cards).toEqual([{ id: "p", kind: "compare", keys: [], isOwn: true, w: 1, h: 15, parts: ["params"], isUp: true }])
  })

  it("are not broken by a view that is", () => {
    for (const bad of [null, 7, "x", [], { sections: 3 }, { sections: [null, { prefix: 1 }, { prefix: "a", cards: [{}, { id: "x", keys: [1] }] }] }]) {
      expect(layoutOf(bad).favourites).toEqual([])
      expect(settingsOf(bad).x).toBe("step")
    }
    expect(settingsOf({ x: "m:epoch", zoom: [1, NaN], smoothing: { kind: "evil", amount: -1 } })).toMatchObject({
      x: "m:epoch",
      zoom: null,
      smoothing: { kind: "none", amount: 0.6 },
    })
  })
})

describe("files and ticks", () => {
  it("hold no formula and no path", () => {
    expect(csvCell("=1+1")).toBe(`"'=1+1"`)
    expect(csvCell('a"b')).toBe('"a""b"')
    expect(csvCell(-3)).toBe("-3")
    expect(fileName("../../etc/passwd", "csv")).toBe("etc-passwd.csv")
    expect(fileName("損失 / loss", "png")).toBe("損失-loss.png")
    expect(fileName("", "svg")).toBe("chart.svg")
  })

  it("mark plain axes at round values, and others at their quarters", () => {
    const of = (min: number, max: number, kind: "linear" | "log" = "linear") => marksOf({ kind, min, max }, true)
    expect(of(0, 1_999)).toEqual([0, 500, 1_000, 1_500])
    expect(of(0.2315, 2.977)).toEqual([0.5, 1, 1.5, 2, 2.5])
    expect(of(-3, 3)).toEqual([-3, -2, -1, 0, 1, 2, 3])
    expect(of(1, 10_000, "log")).toHaveLength(5)
    expect(of(7, 7)).toEqual([7, 7, 7, 7, 7])
    expect(marksOf({ kind: "linear", min: 3, max: 7 }, false)).toEqual([3, 4, 5, 6, 7])
  })

  it("are short", () => {
    expect([0, 1e-7, 0.25, 1234, 12_000, 1.2e6, -3e9, 1e300].map(tick)).toEqual([
      "0", "1e−7", "0.25", "1.234k", "12k", "1.2M", "−3G", "1e300",
    ])
  })

  it("tell values apart that are far from zero", () => {
    expect(ticks([1e9, 1e9 + 0.02, 1e9 + 0.04])).toEqual(["1G", "+0.02", "+0.04"])
    expect(ticks([-2e6, -2e6 + 10, -2e6 + 20])).toEqual(["−2M", "+10", "+20"])
    expect(ticks([0, 0.5, 1])).toEqual(["0", "0.5", "1"])
    expect(ticks([1, null, 10])).toEqual(["1", "", "10"])
    expect(ticks([])).toEqual([])
  })
})

describe("a card's legend", () => {
  it("takes a second row, or goes, before its names are stubs", () => {
    const width = 420
    expect([1, 4, 5, 7, 8].map((n) => legendRows(n, width))).toEqual([1, 1, 2, 2, 2])
    expect([4, 7, 8].map((n) => legendRows(n, 300))).toEqual([2, 0, 0])
    expect([0, 9].map((n) => legendRows(n, 4_000))).toEqual([0, 0])
    for (let n = 1; n <= 8; n += 1) {
      const rows = legendRows(n, width)
      expect(width / Math.ceil(n / rows)).toBeGreaterThanOrEqual(92)
    }
  })
})

describe("a chart of groups as a file", () => {
  const x = Float64Array.of(0, 5, 10)
  const band = { x, n: Uint32Array.of(2, 2, 1), centre: x, low: Float64Array.of(0, 4, NaN), high: Float64Array.of(2, 6, NaN) }
  const group = { ...line(curve([0, 5, 10], [1, 5, 10])), band, dash: 1 as const, name: "a-long-name-of-a-group-that-ends-in-1" }
  const settings = settingsOf({})

  it("has its bands behind its lines, and their dashes", () => {
    const scale = (isFlipped: boolean): Scale => ({ kind: "linear", min: 0, max: 10, threshold: 1, size: 100, isFlipped })
    const chart = { scales: { x: scale(false), y: scale(true) }, state: { settings } } as unknown as LineChart
    const svg = svgOf(chart, "val/loss", [group, { ...line(curve([0, 10], [3, 3])), name: "b" }])
    const area = svg.indexOf('d="M0.00 80.00L50.00 40.00L50.00 60.00L0.00 100.00Z" fill="#000" fill-opacity="0.18"')
    expect(area).toBeGreaterThan(0)
    expect(area).toBeLessThan(svg.indexOf("<title>a-long"))
    expect(svg).toContain('<g stroke-dasharray="6 3"><path')
    expect(svg).toContain("a-long-name-o…at-ends-in-1")
  })

  it("has a band's edges in a table", () => {
    const [head = "", ...rows] = csvOf(settings, [group]).trim().split("\r\n")
    expect(head).toMatch(/"points","band from","band to","runs"$/)
    expect(rows[1]).toMatch(/,4,6,2$/)
    expect(csvOf(settings, [line(curve([0], [1]))])).not.toContain("band")
  })
})
