/** Values of runs by column, for the panels that compare them. */

import { useMemo, useRef } from "react"

import { call } from "../api/client"
import type { Answer } from "../api/use-answer"
import { useAsked } from "../api/use-answer"
import { useAsOf } from "../data/as-of"
import type { Cell, KnownKeys } from "../runs/api"
import { isAside } from "../runs/columns"
import type { DrawnRun } from "./types"

/** Runs that are asked for at once. */
export const MAX_ROWS = 2_000
export const MAX_PARAMS = 60

const under = new Map<string, Promise<unknown>>()

/** Panels that come into view together and ask the same have one answer. */
function once<T>(question: string, ask: () => Promise<T>): Promise<T> {
  const known = under.get(question)
  if (known) return known as Promise<T>
  const asked = ask().finally(() => under.delete(question))
  under.set(question, asked)
  return asked
}

/** The params, tags and metrics that there are. */
export function useKnownKeys(experimentIds: readonly string[] | null): Answer<KnownKeys> {
  const question = experimentIds === null ? null : JSON.stringify(["columns", experimentIds])
  return useAsked<KnownKeys>(question, () =>
    once(question ?? "", () => call("columns", { experiments: experimentIds, deleted: false })),
  )
}

/** What runs are compared by where nobody has said it: how good they are at the end. */
export function usualMetric(known: KnownKeys): string | null {
  const keys = known.metrics.map((one) => one.key).filter((key) => !isAside(key))
  const key = keys.find((one) => /(^|\/)(val|eval).*loss/i.test(one)) ?? keys.find((one) => /loss/i.test(one)) ?? keys[0]
  return key === undefined ? null : `metrics.${key}:latest`
}

/** Params of the most runs first. */
export function paramColumns(known: KnownKeys): string[] {
  const params = [...known.params].sort((a, b) => b.n_runs - a.n_runs)
  return params.slice(0, MAX_PARAMS).map((one) => `params.${one.key}`)
}

/** A visible run with its cells, one a column. */
export interface CellRow {
  readonly run: DrawnRun
  readonly cells: readonly Cell[]
}

export interface Cells {
  readonly rows: readonly CellRow[]
  readonly isLoading: boolean
  readonly error: Error | null
  readonly retry: () => void
}

const NONE: readonly CellRow[] = []

/**
 * The cells of the visible runs.
 *
 * @param newsAt They are asked for again when this changes; what was there stays meanwhile.
 */
export function useCells(
  experimentIds: readonly string[],
  runs: readonly DrawnRun[],
  columns: readonly string[] | null,
  newsAt: number,
): Cells {
  // All runs, so that an eye asks for nothing.
  const ids = useMemo(() => runs.map((run) => run.id).slice(0, MAX_ROWS), [runs])
  const at = useAsOf()
  const name = columns?.join("\n") ?? null
  const question = columns === null || ids.length === 0 ? null : JSON.stringify([experimentIds, ids, columns, newsAt, at])
  const answer = useAsked<{ rows: { id: string; cells: Cell[] }[] }>(question, () =>
    once(question ?? "", () => call("runs", { experiments: experimentIds, run_ids: ids, columns, at })),
  )
  const last = useRef<{ name: string | null; rows: readonly { id: string; cells: Cell[] }[] } | null>(null)
  if (answer.data) last.current = { name, rows: answer.data.rows }
  const held = last.current?.name === name ? (last.current?.rows ?? null) : null
  const rows = useMemo(() => {
    if (held === null) return NONE
    const cells = new Map(held.map((row) => [row.id, row.cells]))
    return runs.flatMap((run) => {
      const own = run.isVisible && !run.isPending ? cells.get(run.id) : undefined
      return own ? [{ run, cells: own }] : []
    })
  }, [held, runs])
  return { rows, isLoading: question !== null && held === null && answer.error === null, error: answer.error, retry: answer.retry }
}

/** A cell as a number; null where there is none or it is text. NaN and infinities are numbers here. */
export function numberOf(cell: Cell | undefined): number | null {
  if (cell === null || cell === undefined || cell === "") return null
  if (cell === "NaN") return NaN
  const value = Number(cell)
  return Number.isNaN(value) ? null : value
}
