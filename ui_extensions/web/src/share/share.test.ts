import { describe, expect, it } from "vitest"

import { COMPARED } from "../charts/sections"
import { DEFAULT_SETTINGS } from "../charts/types"
import type { ViewDocument } from "../view/document"
import { DEFAULT_VIEW, readDocument } from "../view/document"
import type { Share, Shown } from "./api"
import { EVERY } from "./api"
import { cutView, hasTexts, isMetricShown } from "./cut-view"
import type { Scope } from "./draft"
import { daysOffered, newDraft, NOTHING_SHOWN, shareOf } from "./draft"
import { warningsOf } from "./warnings"
import { scopeWords, shownWords, untilWords } from "./words"

const SECRET = "hush"
const card = (id: string, keys: string[], more: object = {}) => ({ id, kind: "line", keys, w: 1, h: 15, ...more })
const DOC: ViewDocument = {
  ...DEFAULT_VIEW,
  filter: `params.${SECRET} = '1'`,
  search: SECRET,
  chartSearch: SECRET,
  order: [`-metrics.${SECRET}:min`, "attributes.start_time"],
  columns: [
    { name: `params.${SECRET}`, isPinned: true },
    { name: `tags.${SECRET}`, isPinned: false },
    { name: `metrics.${SECRET}:latest`, isPinned: false },
    { name: "metrics.loss:latest", isPinned: true },
    { name: "attributes.user_id", isPinned: false },
    { name: "attributes.duration", isPinned: false },
  ],
  groupBy: [`tags.${SECRET}`, "params.lr"],
  colourBy: `params.${SECRET}`,
  higherIsBetter: [SECRET, "loss"],
  settings: { ...DEFAULT_SETTINGS, x: `m:${SECRET}`, yScale: "log" },
  layout: {
    sections: [
      { prefix: SECRET, isOpen: true, columns: 2, cards: [card(SECRET, [SECRET])] },
      {
        prefix: "own",
        isOpen: true,
        columns: 2,
        cards: [
          card("a", ["loss", SECRET], { title: SECRET, isOwn: true }),
          card("b", [], { pattern: SECRET, isOwn: true }),
          card("c", ["loss"], { settings: { x: `m:${SECRET}` } }),
          card("d", [], { kind: "text", text: SECRET, isOwn: true }),
        ],
      },
    ],
    favourites: [SECRET, "loss"],
  },
}
const SHOWN: Shown = { ...NOTHING_SHOWN, metrics: ["loss"], params: ["lr"] }

describe("a view that is shared", () => {
  it("has no word of what is not ticked, and all of what is", () => {
    const cut = cutView(DOC, SHOWN)
    const text = JSON.stringify(cut)
    expect(text).not.toContain(SECRET)
    const read = readDocument(text)
    expect(read?.columns.map((one) => one.name)).toEqual(["metrics.loss:latest", "attributes.duration"])
    expect(read?.groupBy).toEqual(["params.lr"])
    expect(read?.order).toEqual(["attributes.start_time"])
    expect(read?.settings).toMatchObject({ x: "step", yScale: "log" })
    expect(read?.layout).toMatchObject({
      sections: [{ prefix: "own", cards: [{ id: "c", keys: ["loss"] }] }],
      favourites: ["loss"],
    })
  })

  it("has the texts among its charts where notes are ticked", () => {
    expect(hasTexts(DOC)).toBe(true)
    expect(hasTexts(DEFAULT_VIEW)).toBe(false)
    const { layout } = cutView(DOC, { ...SHOWN, notes: true })
    expect(layout).toMatchObject({ sections: [{ cards: [{ id: "c" }, { kind: "text", text: SECRET }] }] })
  })

  it("has panels of what is ticked alone, and none where all were taken away", () => {
    const section = (cards: object[]) => ({ ...DOC, layout: { sections: [{ prefix: COMPARED, isOpen: true, columns: 3, cards }] } })
    const panel = (kind: string, ...columns: string[]) => card(kind, [], { kind, columns, isOwn: true, title: SECRET })
    const cards = [
      panel("scatter", `params.${SECRET}`, "metrics.loss:min"),
      panel("bars", "metrics.loss:min", `tags.${SECRET}`),
      panel("importance", `metrics.${SECRET}:latest`),
      panel("media"),
      panel("parallel", "metrics.loss:min", "params.lr", `params.${SECRET}`),
      { ...panel("scatter", "params.lr", "metrics.loss:max"), title: "By rate" },
    ]
    const cut = cutView(section(cards), SHOWN)
    expect(JSON.stringify(cut)).not.toContain(SECRET)
    expect(cut.layout).toMatchObject({
      sections: [
        {
          prefix: COMPARED,
          cards: [
            { kind: "parallel", columns: ["metrics.loss:min", "params.lr"] },
            { kind: "scatter", title: "By rate", columns: ["params.lr", "metrics.loss:max"] },
          ],
        },
      ],
    })
    expect(cutView(section([]), SHOWN).layout).toMatchObject({ sections: [{ prefix: COMPARED, cards: [] }] })
  })

  it("has the hardware's and the gradients' only where these are ticked", () => {
    const every = { ...NOTHING_SHOWN, metrics: [EVERY] }
    expect(isMetricShown("loss", every)).toBe(true)
    expect(isMetricShown("system/gpu_0_power_usage_watts", every)).toBe(false)
    expect(isMetricShown("gradients/head", { ...every, hardware: true })).toBe(false)
    expect(isMetricShown("gradients/head", { ...NOTHING_SHOWN, histograms: true })).toBe(true)
    expect(isMetricShown("system/cpu", { ...NOTHING_SHOWN, hardware: true })).toBe(true)
  })
})

describe("a link that is being made", () => {
  const scope: Scope = {
    kind: "view",
    label: "This view",
    title: "sweep",
    meant: { experiment_ids: ["1"], run_ids: null, filter: { filter: "", search: "", regex: false } },
    view: DOC,
  }

  it("shows nothing, frozen, for thirty days, until somebody says otherwise", () => {
    const made = shareOf(scope, newDraft(null), false, 1_000)
    expect(made).toMatchObject({
      kind: "view",
      title: "sweep",
      experiment_ids: ["1"],
      is_live: false,
      shown: NOTHING_SHOWN,
      replaces_names: false,
      expires_ms: 1_000 + 30 * 86_400_000,
      password: null,
      is_preview: false,
    })
    expect(Object.values(made.shown).some((one) => one === true || (Array.isArray(one) && one.length > 0))).toBe(false)
    expect(JSON.stringify(made.view)).not.toContain(SECRET)
  })

  it("is previewed without its password and its end", () => {
    const draft = { ...newDraft(null), password: "open sesame", title: "  Mine " }
    const preview = shareOf(scope, draft, true, 1_000)
    expect(preview).toMatchObject({ password: null, expires_ms: null, is_preview: true, title: "Mine" })
    expect(shareOf(scope, draft, false, 0).password).toBe("open sesame")
  })

  it("has no end only where that was chosen, and never the name that it replaces", () => {
    expect(shareOf(scope, { ...newDraft(null), days: null }, false, 0).expires_ms).toBe("never")
    const numbered = { ...newDraft(null), replacesNames: true }
    expect(shareOf({ ...scope, kind: "run", title: SECRET }, numbered, false, 0).title).toBe("A run")
    expect(shareOf({ ...scope, kind: "run" }, newDraft(null), false, 0).title).toBe("sweep")
    expect(shareOf(scope, { ...numbered, title: "Mine" }, false, 0).title).toBe("Mine")
  })

  it("ends no later than the server lets it", () => {
    expect(daysOffered(null)).toEqual([1, 7, 30, 90, 365, null])
    expect(daysOffered(14)).toEqual([1, 7, 14])
    expect(daysOffered(90)).toEqual([1, 7, 30, 90])
    expect(newDraft(14).days).toBe(14)
  })
})

describe("warnings", () => {
  it("name what they are about", () => {
    const shown = { ...SHOWN, metrics: [EVERY], tags: ["customer", "team"], params: ["data_path"], files: true }
    const words = warningsOf(shown, true, true)
    const text = words.join("\n")
    for (const word of ["Runs that come later", "logged later", "“customer”", "“data_path”", "Files"]) {
      expect(text).toContain(word)
    }
    expect(text).not.toContain("“team”")
    expect(warningsOf(SHOWN, true, false)).toEqual([])
  })
})

describe("words", () => {
  const share = { kind: "view", n_runs: 12, is_live: true, as_of_ms: null } as Share

  it("say what is shown and of what", () => {
    expect(shownWords(NOTHING_SHOWN)).toBe("names and times alone")
    expect(shownWords({ ...SHOWN, metrics: [EVERY], notes: true })).toBe("all metrics, 1 param, notes")
    expect(scopeWords(share)).toBe("A view of 12 runs, live")
    expect(scopeWords({ ...share, kind: "experiment", n_runs: null })).toBe("The whole experiment, live")
  })

  it("say until when", () => {
    expect(untilWords(null)).toBe("never")
    expect(untilWords(12 * 86_400_000, 0)).toBe("in 12 d")
    expect(untilWords(0, 5 * 3_600_000)).toBe("5 h ago")
  })
})
