// @vitest-environment node
import { describe, expect, it } from "vitest"

import { endOf } from "./axis-dialog"
import type { ChartLine } from "./line"
import type { Nearby } from "./line-chart"
import type { Images } from "./media-panels"
import { imageAt, imagesAt, stepsOf } from "./media-panels"
import { readPin, writePin } from "./place"
import { barsOf, scalarsOf } from "./scalar-card"
import { OWN, sectionsOf, titleOf, withCard } from "./sections"
import { readSettings, writeSettings } from "./settings-url"
import { tipRows } from "./tip"
import type { CardLayout, DrawnRun } from "./types"
import { DEFAULT_SETTINGS, EMPTY_LAYOUT, layoutOf } from "./types"

function near(name: string, value: number, distance: number): Nearby {
  const curve = { last: [value], offset: 0 }
  return { line: { name, curve, smoothed: null } as unknown as ChartLine, bucket: 0, distance }
}

describe("the tooltip", () => {
  const many = Array.from({ length: 20 }, (_, at) => near(`r${at}`, at, Math.abs(at - 12)))
  const nearest = [...many].sort((a, b) => a.distance - b.distance)

  it("has the largest first, around the nearest, and says how many are left out", () => {
    const { rows, above, below } = tipRows(nearest, 8)
    expect(rows.map((row) => row.line.name)).toEqual(["r16", "r15", "r14", "r13", "r12", "r11", "r10", "r9"])
    expect([above, below]).toEqual([3, 9])
    expect(tipRows(nearest, 50)).toMatchObject({ above: 0, below: 0 })
    expect(tipRows([], 8).rows).toEqual([])
  })

  it("has the nearest in it at either end", () => {
    for (const at of [0, 19]) {
      const one = many[at] as Nearby
      const { rows } = tipRows([one, ...many.filter((other) => other !== one)], 8)
      expect(rows).toHaveLength(8)
      expect(rows).toContain(one)
    }
  })
})

describe("settings in a URL", () => {
  const settings = {
    ...DEFAULT_SETTINGS,
    x: "m:epoch & more=1",
    yScale: "log",
    smoothing: { kind: "twema", amount: 0.6, original: false },
    zoom: [0.1 + 0.2, 1_760_000_000_123],
  }

  it("come back as they were, and defaults are not said", () => {
    expect(writeSettings(null, null)).toEqual([])
    const said = writeSettings(settings, null)
    expect(said.map(([key]) => key)).toEqual(["x", "yl", "s", "z"])
    const query = new URLSearchParams(new URLSearchParams(said).toString())
    expect(readSettings(query, null)).toEqual({ ...settings, zoom: [0.3, 1_760_000_000_123] })
    // Over a view that has them, what differs is said, also that there is none.
    const back = writeSettings(DEFAULT_SETTINGS, settings)
    expect(readSettings(new URLSearchParams(back), settings)).toEqual(DEFAULT_SETTINGS)
  })

  it("are defaults where they cannot be read", () => {
    expect(readSettings(new URLSearchParams(), null)).toBeNull()
    for (const query of ["x=evil&z=1..", "z=5..1", "s=evil:1e999", "yl=cubic", "z=NaN..2"]) {
      const found = readSettings(new URLSearchParams(query), null)
      expect(found, query).toEqual(DEFAULT_SETTINGS)
    }
  })
})

describe("a pinned cursor in a URL", () => {
  it("comes back, whatever the chart is called", () => {
    const pin = { axis: "step" as const, x: 1_240.5, y: -0.125, chart: "a,b\n/loss,.*" }
    expect(readPin(writePin(pin), "step")).toEqual(pin)
    for (const bad of [null, "", "1", "1,2", "x,1,a", "1,Infinity,a"]) expect(readPin(bad, "step")).toBeNull()
    expect(readPin(writePin({ ...pin, x: 1_760_000_123_456 }), "wall")?.x).toBe(1_760_000_123_456)
  })
})

const run = (id: string, isVisible = true): DrawnRun => ({
  id,
  name: `name ${id}`,
  ordinal: 0,
  colour: "#000000",
  dash: 0,
  status: "FINISHED",
  startMs: null,
  endMs: null,
  isVisible,
  experimentId: "1",
})

describe("a scalar", () => {
  const values = new Map([["a", 1], ["b", NaN], ["c", -3], ["d", Infinity], ["hidden", 9]])
  const runs = ["a", "b", "c", "d", "none"].map((id) => run(id)).concat(run("hidden", false))

  it("is there for visible runs that have it, the largest first, NaN last", () => {
    expect(scalarsOf(values, runs, null).map((one) => one.id)).toEqual(["d", "a", "c", "b"])
  })

  it("is the mean of each group, of its finite values", () => {
    const groups = [
      { key: "x", label: "x", colour: "#111111", runIds: ["a", "c", "b"] },
      { key: "y", label: "y", colour: "#222222", runIds: ["none"] },
    ]
    expect(scalarsOf(values, runs, groups)).toEqual([
      { id: "group:x", name: "x", colour: "#111111", value: -1, n: 2 },
    ])
  })

  it("has bars from one zero, whatever the sign", () => {
    const { zero, share } = barsOf([1, -3, NaN, Infinity])
    expect([zero, share(1), share(-3), share(NaN), share(Infinity)]).toEqual([0.75, 0.25, 0.75, 0, 0])
    expect(barsOf([0, 0]).share(0)).toBe(0)
  })
})

describe("images", () => {
  const items = [0, 10, 20].map((step) => ({ step, at_ms: 100 + step, path: `${step}.png`, small: null }))

  it("are the last up to a step, and none before the first", () => {
    expect(imageAt(items, 15)?.step).toBe(10)
    expect(imageAt(items, 20)?.step).toBe(20)
    expect(imageAt(items.slice(1), 5)).toBeUndefined()
    expect(imageAt(items, null)?.step).toBe(20)
  })

  it("share the steps of all runs", () => {
    const images: Images[] = [new Map([["a", items]]), new Map([["a", [{ step: 5, at_ms: null, path: "", small: null }]]]), new Map()]
    expect(stepsOf(images, "a")).toEqual([0, 5, 10, 20])
  })

  it("of a moment are those that had been logged, unless the run had ended", () => {
    const images: Images = new Map([["a", items], ["b", items.slice(2)]])
    const then = imagesAt(images, 110, null)
    expect([...then.keys()]).toEqual(["a"])
    expect(stepsOf([then], "a")).toEqual([0, 10])
    expect(imagesAt(images, 110, 105)).toBe(images)
    expect(imagesAt(images, null, null)).toBe(images)
  })
})

describe("the ends of an axis", () => {
  it("are numbers, nothing, or wrong", () => {
    expect(["1e-3", " −2 ", "1_000", "", "abc", "1e999"].map(endOf)).toEqual([0.001, -2, 1000, null, undefined, undefined])
  })
})

describe("charts of one's own", () => {
  const own: CardLayout = { id: "own-1", kind: "line", keys: ["train/loss", "val/loss"], isOwn: true, w: 2, h: 15 }
  const keys = ["train/loss", "val/loss"]

  it("stand first, and take no metric's own card away", () => {
    const layout = withCard(EMPTY_LAYOUT, [], OWN, own)
    const sections = sectionsOf(keys, layout, 3, "")
    expect(sections.map((one) => one.prefix)).toEqual([OWN, "train", "val"])
    expect(sections[0]?.cards).toEqual([own])
    expect(sections[1]?.cards.map((card) => card.keys)).toEqual([["train/loss"]])
    const two = withCard(layout, sections, OWN, { ...own, id: "own-2" })
    expect(sectionsOf(keys, two, 3, "")[0]?.cards.map((card) => card.id)).toEqual(["own-2", "own-1"])
    // A card whose metrics are gone stays: somebody made it.
    expect(sectionsOf(["other"], layout, 3, "")[0]?.cards).toEqual([own])
    expect(sectionsOf(keys, layout, 3, "accuracy")).toEqual([])
  })

  it("are read from a kept view, and what is wrong in them is left out", () => {
    const kept = {
      sections: [
        {
          prefix: OWN,
          isOpen: true,
          columns: 2,
          cards: [
            { ...own, settings: { yMin: 0, smoothing: null, zoom: ["a", 1], evil: 1 } },
            { ...own, id: "p", keys: [], pattern: "loss$", title: "Losses" },
            { ...own, id: "s", kind: "scalar", keys: ["a"], aggregate: "evil" },
            { ...own, id: "k", kind: "evil" },
            { ...own, id: "empty", keys: [] },
            { ...own, id: "t", kind: "text", keys: [], text: "\n## Why\n- so" },
            { ...own, id: "no text", kind: "text", keys: [], text: 7 },
          ],
        },
      ],
    }
    const [section] = layoutOf(JSON.parse(JSON.stringify(kept))).sections
    expect(section?.cards).toEqual([
      { ...own, settings: { yMin: 0, smoothing: DEFAULT_SETTINGS.smoothing, zoom: null } },
      { ...own, id: "p", keys: [], pattern: "loss$", title: "Losses" },
      { ...own, id: "s", kind: "scalar", keys: ["a"], aggregate: "latest" },
      { ...own, id: "k" },
      { ...own, id: "t", kind: "text", keys: [], text: "\n## Why\n- so" },
    ])
    expect(section?.cards.map(titleOf)).toEqual(["train/loss, val/loss", "Losses", "a", "train/loss, val/loss", "Why"])
  })
})
