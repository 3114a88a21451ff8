/** The run list without a server: filtered, searched and sorted as `store/runs/listing.py` does it. */

import { ApiError } from "../api/error"
import type { Cell, RunRow, RunsAnswer } from "../runs/api"
import { cellNumber, columnName, isNumberColumn, parseColumn } from "../runs/columns"
import { filtered } from "./filter-runs"
import { readFilter } from "./filter-text"
import type { PublishedSet } from "./set"
import { rowsOf } from "./set"

export interface Question {
  readonly experiments?: readonly string[]
  readonly run_ids?: readonly string[]
  readonly columns?: readonly string[]
  readonly filter?: string
  readonly search?: string
  readonly regex?: boolean
  readonly order?: readonly string[]
  readonly offset?: number
  readonly limit?: number
  readonly known?: string | null
}

/** Answer `POST runs`. @throws ApiError where a filter or a pattern cannot be read. */
export function answerRuns(set: PublishedSet, question: Question): RunsAnswer | { rows: RunRow[]; now: number } {
  const columns = question.columns ?? []
  const now = set.share.as_of_ms ?? 0
  if (question.run_ids && question.run_ids.length > 0) {
    const wanted = new Map(set.rows.map((row) => [row.id, row]))
    const rows = question.run_ids.flatMap((id) => wanted.get(id) ?? [])
    return { rows: rows.map((row) => withCells(set, row, columns)), now }
  }
  const found = matching(set, question)
  const offset = question.offset ?? 0
  const shown = found.slice(offset, offset + (question.limit ?? 200))
  const ids = packed(found)
  return {
    rows: shown.map((row) => withCells(set, row, columns)),
    total: rowsOf(set, question.experiments).length,
    matching: found.length,
    digest: ids,
    ids: question.known === ids ? null : ids,
    filter: { text: "", tree: readFilter(question.filter ?? "") },
    now,
    standing: set.standing,
  }
}

/** The runs that a question is about, in its order. @throws ApiError like `answerRuns`. */
export function matching(set: PublishedSet, question: Question): readonly RunRow[] {
  return inOrder(set, searched(set, question), question.order ?? [])
}

function searched(set: PublishedSet, { experiments, filter = "", search = "", regex }: Question): readonly RunRow[] {
  const rows = filtered(readFilter(filter), rowsOf(set, experiments), {
    nowMs: set.share.as_of_ms ?? 0,
    cell: (row, name) => cellOf(set, row, name),
    isShown: (name) => isShown(set, name),
  })
  if (search === "") return rows
  if (regex) {
    let pattern: RegExp
    try {
      pattern = new RegExp(search, "u")
    } catch (error) {
      throw new ApiError(400, error instanceof Error ? error.message : String(error))
    }
    return rows.filter((row) => pattern.test(row.name))
  }
  const wanted = search.toLowerCase()
  return rows.filter((row) => row.name.toLowerCase().includes(wanted) || row.id.startsWith(search))
}

function inOrder(set: PublishedSet, rows: readonly RunRow[], order: readonly string[]): readonly RunRow[] {
  let found = rows
  // Sorting keeps ties as they are, so the last term goes first.
  for (const term of [...order].reverse()) {
    const isDescending = term.startsWith("-")
    const name = nameOf(isDescending ? term.slice(1) : term)
    const placed = found.map((row) => ({ row, place: placeOf(name, cellOf(set, row, name)) }))
    const sign = isDescending ? -1 : 1
    placed.sort(({ place: a }, { place: b }) => {
      // Behind all values comes NaN, then what has none; text before numbers where they are turned.
      const kind = (of: Place): number => (of.kind === 1 ? sign : of.kind)
      if (a.kind !== b.kind) return kind(a) - kind(b)
      if (typeof a.key === "string" || typeof b.key === "string") {
        return a.key === b.key ? 0 : a.key < b.key ? -sign : sign
      }
      return a.key === b.key ? 0 : a.key < b.key ? -sign : sign
    })
    found = placed.map(({ row }) => row)
  }
  return found
}

interface Place {
  /** 0 number, 1 text, 2 NaN, 3 nothing. */
  readonly kind: number
  readonly key: number | string
}

function placeOf(name: string, cell: Cell): Place {
  if (cell === null) return { kind: 3, key: 0 }
  if (isNumberColumn(name)) {
    const value = cellNumber(cell) ?? NaN
    return Number.isNaN(value) ? { kind: 2, key: 0 } : { kind: 0, key: value }
  }
  const text = String(cell)
  const value = text.trim() === "" ? NaN : Number(text)
  return Number.isNaN(value) ? { kind: 1, key: text } : { kind: 0, key: value }
}

/** A column's whole name. */
export function nameOf(name: string): string {
  return columnName(parseColumn(name))
}

const ATTRIBUTES = ["run_id", "status", "start_time", "end_time"]

/** Say whether runs may be chosen by a column, as the link says it that the page was read through. */
function isShown(set: PublishedSet, name: string): boolean {
  const { shown, replaces_names: isNumbered } = set.share
  if (name === "attributes.run_name") return !isNumbered
  if (name === "attributes.user_id") return shown.host
  if (name.startsWith("attributes.")) return ATTRIBUTES.includes(name.slice("attributes.".length))
  return placesOf(set).has(name)
}

const places = new WeakMap<PublishedSet, ReadonlyMap<string, number>>()

function placesOf(set: PublishedSet): ReadonlyMap<string, number> {
  let found = places.get(set)
  if (found === undefined) {
    found = new Map(set.names.map((one, at) => [one, at]))
    places.set(set, found)
  }
  return found
}

/** What a run has in a column, by its whole name. */
export function cellOf(set: PublishedSet, row: RunRow, name: string): Cell {
  switch (name) {
    case "attributes.run_id":
      return row.id
    case "attributes.run_name":
      return row.name
    case "attributes.user_id":
      return row.user || null
    case "attributes.status":
      return row.status
    case "attributes.start_time":
      return row.start
    case "attributes.end_time":
      return row.end
    case "attributes.duration":
      return row.start !== null && row.end !== null ? row.end - row.start : null
  }
  const at = placesOf(set).get(name)
  return at === undefined ? null : (row.cells[at] ?? null)
}

function withCells(set: PublishedSet, row: RunRow, columns: readonly string[]): RunRow {
  return { ...row, cells: columns.map((name) => cellOf(set, row, nameOf(name))) }
}

/** Ids as the server packs them. */
export function packed(rows: readonly Pick<RunRow, "id">[]): string {
  const pieces: string[] = []
  for (const { id } of rows) {
    for (let at = 0; at < 32; at += 2) pieces.push(String.fromCharCode(parseInt(id.slice(at, at + 2), 16)))
  }
  return btoa(pieces.join(""))
}
