// @vitest-environment jsdom
/** The filter without a server, held to what the server makes of the same texts and runs. */

import { readFileSync } from "node:fs"

import { describe, expect, it } from "vitest"

import { ApiError } from "../api/error"
import type { Cell, RunRow, Tree } from "../runs/api"
import { treeText } from "../runs/filter-tree"
import { numberIn } from "./filter-runs"
import { readFilter } from "./filter-text"
import type { Question } from "./run-list"
import { answerRuns } from "./run-list"
import type { PublishedSet } from "./set"

interface Corpus {
  readonly now: number
  readonly runs: readonly (Pick<RunRow, "id" | "name" | "user" | "status" | "start" | "end"> & {
    readonly params: Record<string, string>
    readonly tags: Record<string, string>
    /** Last, smallest and largest value. */
    readonly metrics: Record<string, readonly [Cell, Cell, Cell]>
  })[]
  readonly filters: readonly { readonly text: string; readonly tree: Tree | null; readonly matching: readonly number[] }[]
  readonly faults: readonly { readonly text: string; readonly position: number; readonly length: number; readonly message: string }[]
}

const path = new URL("../../../../tests/support/corpora/filters.json", `file://${process.cwd()}/src/published/`)
const corpus = JSON.parse(readFileSync(path, "utf8")) as Corpus

const NAMES = ["loss", "val/loss"].flatMap((key) => ["latest", "min", "max"].map((how) => `metrics.${key}:${how}`))
const KEYS = ["params.lr", "tags.team", 'tags.a`b "c']

function setOf(shown: { host: boolean }, isNumbered = false): PublishedSet {
  const rows = corpus.runs.map(({ params, tags, metrics, ...run }) => ({
    ...run,
    cells: [
      ...["loss", "val/loss"].flatMap((key) => metrics[key] ?? [null, null, null]),
      ...[params.lr, tags.team, tags['a`b "c']].map((cell) => cell ?? null),
    ],
  }))
  const share = { as_of_ms: corpus.now, shown, replaces_names: isNumbered }
  return { share, names: [...NAMES, ...KEYS], rows, standing: {} } as unknown as PublishedSet
}

function found(set: PublishedSet, question: Question): readonly number[] {
  const { rows } = answerRuns(set, { limit: 100, ...question })
  return rows.map((row) => corpus.runs.findIndex((run) => run.id === row.id))
}

/** Numbers that JSON does not have are words there. */
function plain(tree: Tree | null): unknown {
  const word = (_: string, value: unknown): unknown =>
    typeof value === "number" && !Number.isFinite(value) ? String(value) : value
  return JSON.parse(JSON.stringify(tree, word))
}

describe("the filter of published pages", () => {
  const set = setOf({ host: true })
  it.each(corpus.filters)("reads and meets $text as the server does", ({ text, tree, matching }) => {
    expect(plain(readFilter(text))).toEqual(tree)
    expect(found(set, { filter: text })).toEqual(matching)
    expect(plain(readFilter(treeText(readFilter(text))))).toEqual(tree)
  })

  it.each(corpus.faults)("tells the fault of $message", ({ text, position, length, message }) => {
    let fault: unknown = null
    try {
      readFilter(text)
    } catch (error) {
      fault = error
    }
    expect(fault).toBeInstanceOf(ApiError)
    const { details, message: said } = fault as ApiError
    expect([details, said]).toEqual([{ position, length }, message])
  })

  it("asks about nothing that is not shown", () => {
    const asked = ["params.seed = '1'", "tags.x is missing", "metrics.acc > 1", "artifact_uri = 'a'", "datasets.name = 'a'"]
    for (const filter of asked) {
      expect(() => found(set, { filter }), filter).toThrow("does not show that field")
    }
    for (const filter of ["user_id = 'alice'", "status = 'FINISHED' or not user_id = 'alice'"]) {
      expect(() => found(setOf({ host: false }), { filter })).toThrow("does not show that field")
      expect(found(set, { filter }).length).toBeGreaterThan(0)
    }
    expect(() => found(setOf({ host: true }, true), { filter: "run_name = 'run 0'" })).toThrow("does not show")
  })

  it("is joined with the search, and with what the page asks by itself", () => {
    const filter = `(status = 'FINISHED') and not status in ('FAILED', 'KILLED') and start_time <= ${corpus.now}`
    expect(found(set, { filter, search: "run" })).toEqual([9])
    expect(() => found(set, { filter: "status ~ '['" })).toThrow("not a regular expression")
    expect(() => found(set, { filter: "start_time > 'yesterday'" })).toThrow("no date")
  })

  it("reads numbers as Python does", () => {
    for (const [text, value] of [["1_000", 1000], [" .5e1 ", 5], ["-inf", -Infinity], ["nan", null], ["1__0", null], ["0x1", null], ["", null]]) {
      expect(numberIn(String(text))).toBe(value)
    }
  })
})
