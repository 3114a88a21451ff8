/** Columns of the run list: their names, as the API writes them, and how they are shown. */

import { ago, dateTime, duration, number } from "../text/format"
import { visible } from "../text/visible"
import type { ColumnChoice } from "../view/document"
import type { Cell, KnownKey, KnownKeys } from "./api"

export type ColumnKind = "attributes" | "params" | "tags" | "metrics"
export type Aggregate = "latest" | "min" | "max"

export interface Column {
  readonly kind: ColumnKind
  readonly key: string
  readonly aggregate: Aggregate | ""
}

const AGGREGATES: readonly string[] = ["latest", "min", "max"]
const TITLES: Record<string, string> = {
  run_id: "Run id",
  run_name: "Name",
  user_id: "User",
  status: "State",
  start_time: "Started",
  end_time: "Ended",
  duration: "Duration",
  experiment_id: "Experiment",
}

export function parseColumn(name: string): Column {
  const dot = name.indexOf(".")
  const kind = name.slice(0, dot) as ColumnKind
  const key = name.slice(dot + 1)
  if (kind !== "metrics") return { kind, key, aggregate: "" }
  const colon = key.lastIndexOf(":")
  const suffix = key.slice(colon + 1)
  if (colon > 0 && AGGREGATES.includes(suffix)) {
    return { kind, key: key.slice(0, colon), aggregate: suffix as Aggregate }
  }
  return { kind, key, aggregate: "latest" }
}

export function columnName(column: Column): string {
  const name = `${column.kind}.${column.key}`
  return column.kind === "metrics" ? `${name}:${column.aggregate || "latest"}` : name
}

/** What a column's head says: `lr`, `val/loss`, `val/loss (min)`. */
export function columnTitle(name: string): string {
  const { kind, key, aggregate } = parseColumn(name)
  if (kind === "attributes") return TITLES[key] ?? key
  return visible(aggregate === "min" || aggregate === "max" ? `${key} (${aggregate})` : key, 250)
}

export function isNumberColumn(name: string): boolean {
  const { kind, key } = parseColumn(name)
  return kind === "metrics" || key === "start_time" || key === "end_time" || key === "duration"
}

/** A metric's cell as a number; null where there is none. */
export function cellNumber(cell: Cell | undefined): number | null {
  if (typeof cell === "number") return cell
  if (cell === "NaN") return NaN
  if (cell === "Infinity") return Infinity
  if (cell === "-Infinity") return -Infinity
  return null
}

/** What a cell shows. @param nowMs The server's clock. */
export function cellText(name: string, cell: Cell | undefined, nowMs: number): string {
  if (cell === null || cell === undefined) return ""
  const { kind, key } = parseColumn(name)
  if (kind === "metrics") {
    const value = cellNumber(cell)
    if (value === Infinity) return "+∞"
    if (value === -Infinity) return "−∞"
    return number(value, 4)
  }
  if (kind === "attributes" && typeof cell === "number") {
    return key === "duration" ? duration(cell) : ago(cell, nowMs)
  }
  return visible(String(cell))
}

/** What a cell says in full, for its title and for copying. */
export function cellTitle(name: string, cell: Cell | undefined): string {
  if (cell === null || cell === undefined) return ""
  const { kind, key } = parseColumn(name)
  if (kind === "attributes" && typeof cell === "number") {
    return key === "duration" ? `${cell} ms` : dateTime(cell)
  }
  return visible(String(cell))
}

/** A difference to the baseline: `+9.3 %`, or none where it cannot be told. */
export function deltaText(value: number | null, base: number | null): string {
  if (value === null || base === null || !Number.isFinite(value) || !Number.isFinite(base)) return ""
  if (base === 0) return value === 0 ? "" : "—"
  const share = ((value - base) / Math.abs(base)) * 100
  if (share === 0) return "0 %"
  const size = Math.abs(share)
  const digits = size >= 100 ? String(Math.round(size)) : size.toPrecision(2)
  return `${share > 0 ? "+" : "−"}${Number(digits)} %`
}

/** One cell of a CSV file: quoted, and no spreadsheet's formula. */
export function csvCell(text: string): string {
  const plain = /^[=+\-@\t\r]/.test(text) && !/^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(text)
  const safe = plain ? `'${text}` : text
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/**
 * Put a column before another, or at the end; null where that changes nothing.
 *
 * @param before The name of the other; null for the end.
 */
export function movedColumn(
  columns: readonly ColumnChoice[],
  name: string,
  before: string | null,
): ColumnChoice[] | null {
  const moved = columns.find((one) => one.name === name)
  if (moved === undefined || before === name) return null
  const rest = columns.filter((one) => one !== moved)
  const at = before === null ? rest.length : rest.findIndex((one) => one.name === before)
  if (at < 0) return null
  const next = [...rest.slice(0, at), moved, ...rest.slice(at)]
  return next.every((one, place) => one === columns[place]) ? null : next
}

/** Metrics that Weir logs by itself. */
export function isAside(key: string): boolean {
  return /^(gradients|parameters|system)\//.test(key)
}

const N_AUTO = 4

/** Those that most runs have first, and of them those that differ. */
function byUse<T extends KnownKey>(keys: readonly T[]): T[] {
  const differs = (one: T): number => (one.values.length === 1 ? 0 : 1)
  return [...keys].sort((a, b) => b.n_runs - a.n_runs || differs(b) - differs(a))
}

/** Columns worth a look where nobody has chosen any; keys of a few runs do not push others out. */
export function autoColumns(known: KnownKeys | null): ColumnChoice[] {
  const metrics = byUse(
    (known?.metrics ?? []).filter((one) => !isAside(one.key) && one.key !== "epoch"),
  )
  const first = metrics.find((one) => /loss/i.test(one.key)) ?? metrics[0]
  const column = (name: string, isPinned = false): ColumnChoice => ({ name, isPinned })
  const params = byUse(known?.params ?? [])
  return [
    column("attributes.start_time"),
    column("attributes.duration"),
    ...metrics.slice(0, N_AUTO).map((one) => column(`metrics.${one.key}:latest`, one === first)),
    ...params.slice(0, N_AUTO).map((one) => column(`params.${one.key}`)),
  ]
}
