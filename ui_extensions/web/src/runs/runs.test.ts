// @vitest-environment jsdom
import { describe, expect, it } from "vitest"

import { RunIds } from "./api"
import { contrast, runColour, runDash, slotColour } from "./colour"
import { autoColumns, cellText, columnName, csvCell, deltaText, parseColumn } from "./columns"
import { isHigherBetter, sayDirection } from "./direction"
import { inverted, setShown, shownTest, solo } from "./eye"
import { changed, madeBy, NEW_CONDITION, topGroup, treeText, typedValue, withMadeBy } from "./filter-tree"
import { treeOf, writtenTree } from "./switches"
import { middleCut, sharedPrefix, shownName } from "../text/names"
import { EVERYTHING } from "../view/document"

const id = (n: number): string => n.toString(16).padStart(32, "0")
const IDS = Array.from({ length: 50 }, (_, n) => id(n))
const run = (n: number, status = "FINISHED"): { id: string; status: string } => ({ id: id(n), status })
import { fuzzyScore } from "../text/fuzzy"

describe("the eye", () => {
  it("keeps a rule and what does not fit it", () => {
    const hidden = setShown(EVERYTHING, [run(3)], false, IDS)
    expect(hidden).toEqual({ ...EVERYTHING, hidden: [id(3)] })
    expect(shownTest(hidden, IDS)(id(3), "FINISHED")).toBe(false)
    expect(shownTest(hidden, IDS)("f".repeat(32), "FINISHED")).toBe(true)
    expect(setShown(hidden, [run(3)], true, IDS)).toEqual(EVERYTHING)
    const top = { ...EVERYTHING, base: "top" as const, n: 2 }
    expect(IDS.filter((one) => shownTest(top, IDS)(one, "FINISHED"))).toEqual(IDS.slice(0, 2))
    const running = { ...EVERYTHING, base: "running" as const }
    expect(setShown(running, [run(1, "RUNNING")], false, IDS).hidden).toEqual([id(1)])
    expect(setShown(running, [run(1)], false, IDS)).toEqual(running)
  })

  it("draws one alone, and the others instead", () => {
    const all = IDS.map((one) => ({ id: one, status: "FINISHED" }))
    const others = inverted(solo([id(7)]), all, IDS)
    expect(others.shown).toHaveLength(49)
    expect(shownTest(others, IDS)(id(7), "FINISHED")).toBe(false)
  })
})

describe("colours", () => {
  it("are those of a run's number, and neighbours differ", () => {
    for (const theme of ["light", "dark"] as const) {
      const background = theme === "light" ? "#ffffff" : "#11171c"
      const all = Array.from({ length: 8 }, (_, slot) => slotColour(slot, theme))
      expect(new Set(all).size).toBe(8)
      for (const colour of all) expect(contrast(colour, background)).toBeGreaterThan(2.99)
    }
    const identities = Array.from({ length: 24 }, (_, ordinal) => {
      const of = { ordinal }
      return `${runColour(of, "light")} ${runDash(of)}`
    })
    expect(new Set(identities).size).toBe(24)
  })

  it("are what somebody chose, where that is a colour", () => {
    expect(runColour({ ordinal: 1, colour: "#ABCDEF" }, "light")).toBe("#abcdef")
    expect(runColour({ ordinal: 1, colour: "url(x)" }, "light")).toBe("#d44567")
    expect(runDash({ ordinal: 9, colour: "#abcdef" })).toBe(0)
  })
})

describe("columns", () => {
  it.each([
    ["metrics.loss", "metrics", "loss", "latest"],
    ["metrics.val/loss:min", "metrics", "val/loss", "min"],
    ["metrics.a:min:latest", "metrics", "a:min", "latest"],
    ["params.a:min", "params", "a:min", ""],
    ["tags.mlflow.user", "tags", "mlflow.user", ""],
  ])("%s", (name, kind, key, aggregate) => {
    const column = parseColumn(name)
    expect(column).toEqual({ kind, key, aggregate })
    expect(parseColumn(columnName(column))).toEqual(column)
  })

  it("show what cannot be a number as what it is", () => {
    expect(cellText("metrics.a", "NaN", 0)).toBe("NaN")
    expect(cellText("metrics.a", "-Infinity", 0)).toBe("−∞")
    expect(cellText("metrics.a", 1.7976931348623157e308, 0)).toBe("∞")
    expect(cellText("metrics.a", 0.123456, 0)).toBe("0.1235")
    expect(cellText("params.a", null, 0)).toBe("")
    expect(cellText("params.a", "a\u202eb", 0)).toBe("a\\u{202e}b")
  })

  it("say the difference to a baseline", () => {
    expect(deltaText(0.329, 0.301)).toBe("+9.3 %")
    expect(deltaText(-2, -1)).toBe("−100 %")
    expect(deltaText(1, 0)).toBe("—")
    expect(deltaText(NaN, 1)).toBe("")
    expect(deltaText(5, 5)).toBe("0 %")
    expect(deltaText(30, 1)).toBe("+2900 %")
  })

  it("are no formulas in a file", () => {
    expect(csvCell("=HYPERLINK(1)")).toBe("'=HYPERLINK(1)")
    expect(csvCell("-1.5e3")).toBe("-1.5e3")
    expect(csvCell("-2+3")).toBe("'-2+3")
    expect(csvCell('a"b,c')).toBe('"a""b,c"')
    expect(csvCell("@x")).toBe("'@x")
  })

  it("are found by letters in order", () => {
    expect(fuzzyScore("metrics.val/loss", "loss")).toBeGreaterThan(fuzzyScore("metrics.val/loss", "vls"))
    expect(fuzzyScore("metrics.val/loss", "vls")).toBeGreaterThan(0)
    expect(fuzzyScore("metrics.val/loss", "slv")).toBe(0)
  })

  it("know what is better, by name and as somebody said", () => {
    expect(isHigherBetter("val/acc", [])).toBe(true)
    expect(isHigherBetter("accident_rate", [])).toBe(false)
    expect(isHigherBetter("loss", sayDirection("loss", true, []))).toBe(true)
    expect(isHigherBetter("val/acc", sayDirection("val/acc", false, ["+val/acc"]))).toBe(false)
  })
})

describe("columns that nobody chose", () => {
  it("are what most runs have, and of that what differs", () => {
    const key = (key: string, n_runs: number, values: string[] = []) => ({ key, n_runs, is_number: false, values })
    const chosen = autoColumns({
      params: [
        ...["a1", "a2", "a3", "a4"].map((one) => key(one, 1, ["of one run"])),
        key("always", 60, ["the same"]),
        ...["depth", "lr", "optimizer", "seed"].map((one) => key(one, 60, ["1", "2"])),
      ],
      tags: [],
      metrics: [key("a", 1), key("b", 1), key("c", 1), key("d", 1), key("val/loss", 60)],
    })
    const names = chosen.map(({ name }) => name)
    expect(names.slice(2, 4)).toEqual(["metrics.val/loss:latest", "metrics.a:latest"])
    expect(names.slice(-4)).toEqual(["params.depth", "params.lr", "params.optimizer", "params.seed"])
    expect(chosen.find(({ isPinned }) => isPinned)?.name).toBe("metrics.val/loss:latest")
  })
})

describe("the filter's builder", () => {
  it("holds any text, and the runs of one user or of everybody", () => {
    const said = { ...NEW_CONDITION, kind: "tags" as const, key: 'a`"b', comparator: "=", values: [`it's "x"`] }
    expect(treeText(said)).toBe(`tags."a\`""b" = "it's ""x"""`)
    const either = { joined: "or" as const, parts: [said, NEW_CONDITION] }
    const hers = withMadeBy(either, "grace")
    expect(treeText(hers)).toBe(`(${treeText(either)}) and tags.mlflow.user = 'grace'`)
    expect(madeBy(hers)).toBe("grace")
    expect(madeBy(either)).toBeNull()
    expect(treeText(withMadeBy(hers, "ada"))).toBe(`(${treeText(either)}) and tags.mlflow.user = 'ada'`)
    expect(treeText(withMadeBy(hers, null))).toBe(treeText(either))
    expect(withMadeBy(withMadeBy(null, "ada"), null)).toBeNull()
  })

  it("is what somebody wrote, without what the page's switches add", () => {
    const part = (value: string) => ({ ...NEW_CONDITION, values: [value] })
    const both = { joined: "and" as const, parts: [part("a"), part("crashed"), part("frozen")] }
    const written = { filter: "x", hidesCrashed: true }
    expect(writtenTree(written, true, both)).toEqual(part("a"))
    expect(writtenTree(written, false, both)).toEqual({ ...both, parts: both.parts.slice(0, 2) })
    expect(writtenTree({ filter: " ", hidesCrashed: true }, false, both)).toBeNull()
    const live = { isOn: true, setOn: () => undefined, atMs: 5, isFailing: false, isRunning: false }
    const frozen = { ...live, isOn: false }
    const asked = "(x) and not status in ('FAILED', 'KILLED')"
    expect(treeOf(written, { tree: both, filter: asked, live }).isCurrent).toBe(true)
    expect(treeOf(written, { tree: both, filter: "y", live }).isCurrent).toBe(false)
    expect(treeOf(written, { tree: both, filter: `${asked} and start_time <= 5`, live: frozen }).isCurrent).toBe(true)
  })

  it("writes what the server reads", () => {
    expect(
      treeText({
        joined: "and",
        parts: [
          { kind: "params", key: "lr", aggregate: "", comparator: ">=", values: [0.001] },
          NEW_CONDITION,
          {
            joined: "or",
            parts: [
              { kind: "tags", key: "a b", aggregate: "", comparator: "=", values: ["it's"] },
              { kind: "metrics", key: "val/loss", aggregate: "min", comparator: "<", values: [1] },
            ],
          },
          { joined: "not", parts: [{ kind: "params", key: "x", aggregate: "", comparator: "is missing", values: [] }] },
          { joined: "or", parts: [] },
        ],
      }),
    ).toBe(
      "params.lr >= 0.001 and status in ('RUNNING', 'FINISHED') and " +
        "(tags.`a b` = \"it's\" or min(metrics.val/loss) < 1) and (not (params.x is missing))",
    )
    expect(treeText(topGroup(null))).toBe("")
    expect(treeText(topGroup(NEW_CONDITION))).toBe("status in ('RUNNING', 'FINISHED')")
  })

  it("keeps what fits when a condition changes", () => {
    const metric = changed(NEW_CONDITION, { kind: "metrics", key: "loss", aggregate: "latest" })
    expect(metric).toMatchObject({ comparator: "<", values: [0] })
    const time = changed(NEW_CONDITION, { key: "start_time", values: [] })
    expect(time).toMatchObject({ comparator: "within last", values: [7, "d"] })
    expect(typedValue("1e-3", "params", "=")).toBe(0.001)
    expect(typedValue("1e-3", "params", "like")).toBe("1e-3")
    expect(typedValue("7", "attributes", "=")).toBe("7")
  })
})

describe("names", () => {
  it("fold what all of them begin with", () => {
    const names = ["resnet50-imagenet-lr1e-3-s1", "resnet50-imagenet-lr1e-3-s2", "resnet50-imagenet-lr1e-2-s1"]
    expect(sharedPrefix(names)).toBe("resnet50-imagenet-")
    expect(shownName(names[0] ?? "", id(1), "resnet50-imagenet-").head).toBe("…lr1e-3-s1")
    expect(sharedPrefix(["a", "ab"])).toBe("")
    expect(sharedPrefix(["one and the same", "one and the same"])).not.toBe("one and the same")
  })

  it("are cut in the middle, between whole characters", () => {
    const { head, tail } = shownName("🙂".repeat(300), id(1), "")
    expect([...head].every((character) => character === "🙂" || character === "…")).toBe(true)
    expect([...tail].length).toBe(9)
    expect(shownName("", id(255), "").full).toBe("00000000")
    // A letter keeps its marks, and a short name its end.
    expect(shownName("x".repeat(20) + "e\u0301".repeat(9), id(1), "").tail).toBe("e\u0301".repeat(9))
    expect(shownName("convnext-1e-3-s0", id(1), "")).toMatchObject({ head: "convnext", tail: "-1e-3-s0" })
  })

  it("fit so many characters, both ends kept", () => {
    expect(middleCut("resnet50-lr0.001-seed7", 11)).toBe("resne…seed7")
    expect(middleCut("resnet50", 8)).toBe("resnet50")
    expect(middleCut("resnet50", 1)).toBe("…")
  })
})

describe("ids", () => {
  it("come in sixteen bytes each", () => {
    const bytes = IDS.slice(0, 3).flatMap((one) => (one.match(/../g) ?? []).map((byte) => parseInt(byte, 16)))
    const ids = RunIds.decode(btoa(String.fromCharCode(...bytes)))
    expect(ids.count).toBe(3)
    expect(ids.slice(-5, 10)).toEqual(IDS.slice(0, 3))
    expect(RunIds.NONE.slice(0, 5)).toEqual([])
  })
})
