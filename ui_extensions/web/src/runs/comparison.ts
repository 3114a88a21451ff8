/** Runs side by side: rows of keys, and which of them differ. */

import { call } from "../api/client"
import type { CallOptions } from "../api/client"
import { duration, number } from "../text/format"
import { visible } from "../text/visible"
import type { Cell, RunRow } from "./api"
import { cellNumber, isAside } from "./columns"

export interface ComparedRun extends RunRow {
  readonly params: readonly { readonly key: string; readonly value: string }[]
  readonly tags: readonly { readonly key: string; readonly value: string }[]
  readonly metrics: readonly {
    readonly key: string
    readonly latest: Cell
    readonly step: number
    readonly min: Cell
    readonly max: Cell
  }[]
  readonly left_out: number
}

export type Section = "run" | "params" | "metrics" | "code" | "environment" | "tags"

export const SECTIONS: readonly { value: Section; label: string }[] = [
  { value: "run", label: "Run" },
  { value: "params", label: "Params" },
  { value: "metrics", label: "Metrics" },
  { value: "code", label: "Code" },
  { value: "environment", label: "Environment" },
  { value: "tags", label: "Tags" },
]

export interface ComparedLine {
  readonly section: Section
  readonly key: string
  /** The metric it is about, for what is better; "" of others. */
  readonly metric: string
  /** One a run: what is shown, and what is compared. */
  readonly cells: readonly { readonly text: string; readonly value: Cell }[]
  readonly differs: boolean
}

/** @param atMs States and metrics as of then; null for now. */
export async function readCompared(
  experiments: readonly string[],
  runIds: readonly string[],
  atMs: number | null,
  options: CallOptions,
): Promise<readonly ComparedRun[]> {
  const body = { experiments, run_ids: runIds, ...(atMs === null ? {} : { at: atMs }) }
  const answer = await call<{ runs: readonly ComparedRun[] }>("runs/compare", body, options)
  return answer.runs
}

const CODE = /^(weir\.git\.|mlflow\.source\.|weir\.command|weir\.program)/
const ENVIRONMENT = /^(weir\.(host|gpu|python|os|packages|environment|node|cuda|driver)|mlflow\.user)/
const TIMELESS = new Set(["started", "duration", "id"])

function sectionOf(tag: string): Section {
  if (CODE.test(tag)) return "code"
  return ENVIRONMENT.test(tag) ? "environment" : "tags"
}

/** All lines of a comparison, in the order of the sections and their keys. */
export function compare(runs: readonly ComparedRun[]): ComparedLine[] {
  const lines: ComparedLine[] = []
  const add = (section: Section, key: string, values: readonly Cell[], show: (value: Cell) => string, metric = ""): void => {
    const cells = values.map((value) => ({ value, text: value === null ? "" : show(value) }))
    const first = JSON.stringify(values[0])
    const differs = !TIMELESS.has(key) && values.some((value) => JSON.stringify(value) !== first)
    lines.push({ section, key, metric, cells, differs })
  }
  const text = (value: Cell): string => visible(String(value), 1_000)
  add("run", "id", runs.map((run) => run.id), text)
  add("run", "state", runs.map((run) => run.status.toLowerCase()), text)
  if (runs.some((run) => run.cause)) add("run", "why it ended", runs.map((run) => run.cause ?? null), text)
  add("run", "user", runs.map((run) => run.user || null), text)
  add("run", "started", runs.map((run) => run.start), (value) => new Date(Number(value)).toLocaleString())
  add(
    "run",
    "duration",
    runs.map((run) => (run.start !== null && run.end !== null ? run.end - run.start : null)),
    (value) => duration(Number(value)),
  )
  pairs(runs.map((run) => run.params), (key, values) => add("params", key, values, text))
  const metrics = runs.map((run) => new Map(run.metrics.map((one) => [one.key, one])))
  // What is logged by itself comes behind what somebody logged.
  const keys = keysOf(metrics).sort((a, b) => Number(isAside(a)) - Number(isAside(b)))
  for (const key of keys) {
    for (const part of ["latest", "min", "max"] as const) {
      const values = metrics.map((of) => of.get(key)?.[part] ?? null)
      if (values.every((value) => value === null)) continue
      add("metrics", part === "latest" ? key : `${key} (${part})`, values, metricText, key)
    }
  }
  pairs(runs.map((run) => run.tags), (key, values) => add(sectionOf(key), key, values, text))
  const order = new Map(SECTIONS.map((section, at) => [section.value, at]))
  return lines
    .map((line, at) => ({ line, at }))
    .sort((a, b) => (order.get(a.line.section) ?? 0) - (order.get(b.line.section) ?? 0) || a.at - b.at)
    .map(({ line }) => line)
}

function metricText(value: Cell): string {
  const found = cellNumber(value)
  if (found === Infinity) return "+∞"
  return found === -Infinity ? "−∞" : number(found, 5)
}

function keysOf(maps: readonly ReadonlyMap<string, unknown>[]): string[] {
  return [...new Set(maps.flatMap((map) => [...map.keys()]))].sort()
}

function pairs(
  all: readonly (readonly { readonly key: string; readonly value: string }[])[],
  add: (key: string, values: readonly Cell[]) => void,
): void {
  const maps = all.map((list) => new Map(list.map(({ key, value }) => [key, value])))
  for (const key of keysOf(maps)) add(key, maps.map((map) => map.get(key) ?? null))
}
