/** Which runs meet a filter, without a server: what `store/runs/in_memory.py` says of them. */

import { ApiError } from "../api/error"
import type { Cell, Condition, RunRow, Tree } from "../runs/api"
import { cellNumber } from "../runs/columns"
import { isGroup } from "../runs/filter-tree"
import { isTime } from "./filter-text"

const NOT_SHOWN = "this page does not show that field"
const UNITS_MS: Readonly<Record<string, number>> = { s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 }

type Test = (cell: Cell) => boolean

export interface Where {
  /** The clock, for `within last`, in ms. */
  readonly nowMs: number
  /** What a run has in a column, by its whole name. */
  readonly cell: (row: RunRow, name: string) => Cell
  /** Say whether a column is shown. */
  readonly isShown: (name: string) => boolean
}

/** The rows that meet a filter, in their order. @throws ApiError where it asks what cannot be told here. */
export function filtered(tree: Tree | null, rows: readonly RunRow[], where: Where): readonly RunRow[] {
  return tree === null ? rows : rows.filter(testOf(tree, where))
}

function testOf(tree: Tree, where: Where): (row: RunRow) => boolean {
  if (!isGroup(tree)) return conditionTest(tree, where)
  const tests = tree.parts.map((part) => testOf(part, where))
  if (tree.joined === "not") return (row) => !tests[0]?.(row)
  if (tree.joined === "and") return (row) => tests.every((test) => test(row))
  return (row) => tests.some((test) => test(row))
}

function conditionTest(condition: Condition, { nowMs, cell, isShown }: Where): (row: RunRow) => boolean {
  const { kind, key, aggregate, comparator } = condition
  const name = kind === "metrics" ? `metrics.${key}:${aggregate || "latest"}` : `${kind}.${key}`
  if (!isShown(name)) throw new ApiError(400, NOT_SHOWN)
  if (comparator === "is missing") return (row) => cell(row, name) === null
  // What a run does not have meets nothing else.
  const test = comparator === "is not missing" ? () => true : valueTest(condition, nowMs)
  return (row) => {
    const found = cell(row, name)
    return found !== null && test(found)
  }
}

function valueTest({ kind, key, comparator, values }: Condition, nowMs: number): Test {
  const [first = ""] = values
  if (comparator === "within last") {
    const sinceMs = nowMs - Math.trunc(Number(first) * (UNITS_MS[String(values[1])] ?? 0))
    return (cell) => typeof cell === "number" && cell >= sinceMs
  }
  if (kind === "metrics") {
    const test = numberTest(comparator, values)
    return (cell) => test(cellNumber(cell) ?? NaN)
  }
  if (kind === "attributes" && isTime(key)) return numberTest(comparator, [timeMs(first)])
  if (comparator === "~" || comparator === "!~") {
    const pattern = patternOf(String(first))
    return (cell) => pattern.test(String(cell)) === (comparator === "~")
  }
  if (comparator === "like" || comparator === "ilike") {
    const pattern = new RegExp(likePattern(String(first)), comparator === "like" ? "su" : "siu")
    return (cell) => pattern.test(String(cell))
  }
  const isByNumber = kind !== "attributes" && (/^[<>]/.test(comparator) || values.some((one) => typeof one === "number"))
  if (isByNumber) return numberTest(comparator, values)
  const named = new Set(values.map(String))
  const isWanted = comparator === "=" || comparator === "in"
  return (cell) => named.has(String(cell)) === isWanted
}

/** By number where both sides are one; text is compared as text. */
function numberTest(comparator: string, values: readonly (number | string)[]): Test {
  if (comparator !== "in" && comparator !== "not in") return oneTest(comparator, values[0] ?? "")
  const tests = values.map((value) => oneTest("=", value))
  return (cell) => tests.some((test) => test(cell)) === (comparator === "in")
}

function oneTest(comparator: string, value: number | string): Test {
  const wanted = typeof value === "string" ? numberIn(value) : value
  return (cell) => {
    const found = typeof cell === "string" ? numberIn(cell) : cell
    if (wanted !== null && found !== null) return holds(comparator, found, wanted)
    // Text and a number have no order, but are not the same.
    if (typeof value !== "string" || typeof cell !== "string") return comparator === "!="
    return holds(comparator, byCharacter(cell, value), 0)
  }
}

function holds(comparator: string, a: number, b: number): boolean {
  switch (comparator) {
    case "<":
      return a < b
    case "<=":
      return a <= b
    case ">":
      return a > b
    case ">=":
      return a >= b
    case "=":
      return a === b
    default:
      return a !== b
  }
}

/** The number that a text is; null where it is none, NaN included. */
export function numberIn(text: string): number | null {
  const word = text.trim().toLowerCase()
  const infinite = /^([+-]?)inf(inity)?$/.exec(word)
  if (infinite) return infinite[1] === "-" ? -Infinity : Infinity
  // As Python reads numbers, with underscores between digits.
  const plain = word.replace(/(?<=\d)_(?=\d)/g, "")
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(plain) ? Number(plain) : null
}

/** Which of two texts comes first, by their characters: code units are in another order. */
function byCharacter(a: string, b: string): number {
  const [left, right] = [[...a], [...b]]
  for (const [at, one] of left.entries()) {
    const other = right[at]
    if (other === undefined) return 1
    if (one !== other) return (one.codePointAt(0) ?? 0) - (other.codePointAt(0) ?? 0)
  }
  return left.length - right.length
}

function likePattern(text: string): string {
  const marks: Readonly<Record<string, string>> = { "%": ".*", _: "." }
  return `^${[...text].map((one) => marks[one] ?? one.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("")}$`
}

/** A pattern as the browser reads it; flags at its beginning are the server's way to set them. */
function patternOf(text: string): RegExp {
  const [start, letters = ""] = /^\(\?([ims]+)\)/.exec(text) ?? [""]
  const body = text.slice(start.length)
  for (const flags of [`${letters}u`, letters]) {
    try {
      return new RegExp(body, flags)
    } catch {
      // Without `u` more is allowed.
    }
  }
  throw new ApiError(400, `not a regular expression: ${text.slice(0, 60)}`)
}

const DATE = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d(?::\d\d(?::\d\d(?:\.\d{1,6})?)?)?)(Z|[+-]\d\d:?\d\d)?)?$/

/** A time in ms, or a date of ISO 8601, UTC unless it says else. */
function timeMs(value: number | string): number {
  if (typeof value === "number") return value
  const [, day = "", time = "00", zone = "Z"] = DATE.exec(value) ?? []
  const at = Date.parse(`${day}T${time.length === 2 ? `${time}:00` : time}${zone}`)
  if (Number.isNaN(at)) throw new ApiError(400, `'${value.slice(0, 38)}' is no date such as 2026-01-31 or 2026-01-31T12:00`)
  return at
}
