import { describe, expect, it } from "vitest"

import { DEFAULT_VIEW, EVERYTHING, readDocument } from "./document"
import { apply, MAX_STEPS, redo, startHistory, undo } from "./history"
import { readEye, readNamed, readQuery, readTerms, writeEye, writeQuery, writeTerms } from "./url"

const A = "a".repeat(32)
const B = "b".repeat(32)
const NOBODY = { view: null, state: null }

describe("undo", () => {
  it("gives back what was there, step by step, and does it again", () => {
    let history = startHistory(DEFAULT_VIEW)
    history = apply(history, { filter: "params.lr > 1" }, null, 0)
    history = apply(history, { order: ["-metrics.loss"], pins: [A] }, null, 10)
    expect(undo(history).document).toEqual({ ...DEFAULT_VIEW, filter: "params.lr > 1" })
    expect(undo(undo(history)).document).toEqual(DEFAULT_VIEW)
    expect(redo(redo(undo(undo(history)))).document).toEqual(history.document)
    // Nothing more to undo, and a change after an undo ends the other future.
    expect(undo(undo(undo(history))).document).toEqual(DEFAULT_VIEW)
    const other = apply(undo(history), { search: "x" }, null, 20)
    expect(redo(other)).toBe(other)
  })

  it("takes a slider's many changes for one", () => {
    let history = startHistory(DEFAULT_VIEW)
    for (let at = 0; at < 50; at += 1) history = apply(history, { search: "x".repeat(at) }, "search", at * 20)
    expect(history.past).toHaveLength(1)
    expect(undo(history).document.search).toBe("")
    // Another field, or a pause, is another step.
    history = apply(history, { filter: "a" }, "filter", 1_010)
    history = apply(history, { filter: "ab" }, "filter", 9_000)
    expect(history.past).toHaveLength(3)
  })

  it("keeps no step that changes nothing, and at most a hundred", () => {
    let history = startHistory(DEFAULT_VIEW)
    expect(apply(history, { pins: [] }, null, 0)).toBe(history)
    for (let at = 0; at < 300; at += 1) history = apply(history, { search: `${at}` }, null, at)
    expect(history.past).toHaveLength(MAX_STEPS)
  })
})

describe("a kept document", () => {
  it("reads as it was written", () => {
    const kept = {
      ...DEFAULT_VIEW,
      filter: "params.`a b` > 1",
      columns: [{ name: "metrics.loss:min", isPinned: true, width: 90 }],
      eye: { base: "top" as const, n: 20, shown: [A], hidden: [B] },
      pins: [A],
      baseline: B,
      layout: { sections: [] },
    }
    expect(readDocument(JSON.stringify(kept))).toEqual(kept)
  })

  it.each(["", "[]", "null", "{}", '{"version":2}', "{", "1"])("is none: %s", (text) => {
    expect(readDocument(text)).toBeNull()
  })

  it("takes only what it can be from anybody's hand", () => {
    const odd = {
      version: 1,
      filter: { toString: "x" },
      order: [1, "params.lr", null],
      columns: [{ name: "params.lr", width: -5 }, { name: 3 }, "x", { name: "params.lr" }],
      eye: { base: "some", n: -3, shown: ["<script>", A, A], hidden: "x" },
      pins: Array.from({ length: 50 }, (_, at) => at.toString(16).padStart(32, "0")),
      baseline: "../x",
      side: { width: 1e9 },
      centre: "__proto__",
    }
    const read = readDocument(JSON.stringify(odd))
    expect(read).toMatchObject({
      filter: "",
      order: ["params.lr"],
      columns: [{ name: "params.lr", isPinned: false }],
      eye: { base: "all", n: 0, shown: [A], hidden: [] },
      baseline: null,
      centre: "mean",
    })
    expect(read?.pins).toHaveLength(20)
    expect(read?.side.width).toBe(600)
  })
})

describe("a view's URL", () => {
  const doc = {
    ...DEFAULT_VIEW,
    filter: "params.lr >= 1e-3 and tags.team = 'a,b&c=d'",
    search: "^re[sn]",
    isRegex: true,
    order: ["-metrics.a,b:min", "params.lr"],
    groupBy: ["params.x,,y", "tags.t"],
    band: "sd" as const,
    eye: { base: "top" as const, n: 20, shown: [A], hidden: [B] },
    pins: [A, B],
    baseline: A,
  }

  it("says what differs and nothing else", () => {
    expect(writeQuery(DEFAULT_VIEW, DEFAULT_VIEW, NOBODY, new URLSearchParams()).toString()).toBe("")
    const query = writeQuery(doc, DEFAULT_VIEW, NOBODY, new URLSearchParams("f=old&other=1"))
    expect([...query.keys()]).toEqual(["f", "q", "re", "o", "g", "gb", "eye", "pin", "base", "other"])
    const read = readQuery(new URLSearchParams(query.toString()))
    expect({ ...DEFAULT_VIEW, ...read }).toEqual(doc)
  })

  it("says what a named view holds no more", () => {
    const base = { ...doc }
    const changed = { ...doc, filter: "", isRegex: false }
    const named = { view: { id: A, revision: 3 }, state: null }
    const query = writeQuery(changed, base, named, new URLSearchParams())
    expect(query.get("v")).toBe(`${A}@3`)
    expect({ ...base, ...readQuery(query) }).toEqual(changed)
    expect(readNamed(query)).toEqual(named)
    expect(readNamed(new URLSearchParams("v=x@1&st=../../x"))).toEqual(NOBODY)
  })

  it("keeps terms with commas apart", () => {
    for (const terms of [[], ["a"], ["a,b", "c"], [",", ",,"], ["x,"]]) {
      expect(readTerms(writeTerms(terms))).toEqual(terms.filter(Boolean))
    }
  })

  it("reads an eye rule, also with its pluses turned to spaces", () => {
    const rule = { base: "none" as const, n: 0, shown: [A], hidden: [B] }
    expect(readEye(writeEye(rule))).toEqual(rule)
    expect(readEye(writeEye(rule).replace("+", " "))).toEqual(rule)
    expect(readEye("all")).toEqual(EVERYTHING)
    expect(readEye("everything")).toBeNull()
    expect(readEye(`all,-${A.slice(1)}`)).toEqual(EVERYTHING)
  })
})
