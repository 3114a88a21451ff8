/** Groups of runs without a server: as `store/runs/grouping.py` makes them. */

import type { Cell, GroupsAnswer, RunGroup, RunRow, Summary } from "../runs/api"
import { cellNumber, isNumberColumn } from "../runs/columns"
import type { Question } from "./run-list"
import { cellOf, matching, nameOf, packed } from "./run-list"
import type { PublishedSet } from "./set"
import { rowsOf } from "./set"

const MAX_GROUPS = 200
const MAX_DISTINCT_NUMBERS = 12
const N_RANGES = 8

type Value = RunGroup["values"][number]

/** Answer `POST groups`. @throws ApiError like `answerRuns`. */
export function answerGroups(
  set: PublishedSet,
  { by = [], columns = [], ...question }: Question & { readonly by?: readonly string[] },
): GroupsAnswer {
  const rows = matching(set, question)
  const labels = by.map((name) => labelsOf(nameOf(name), rows, set))
  const found = new Map<string, { values: Value[]; rows: RunRow[] }>()
  rows.forEach((row, at) => {
    const values = labels.map((of) => of[at] ?? null)
    const key = JSON.stringify(values)
    const group = found.get(key)
    if (group) group.rows.push(row)
    else found.set(key, { values, rows: [row] })
  })
  const groups = [...found.values()].sort((a, b) => byRank(a.values, b.values))
  const names = columns.map(nameOf)
  return {
    groups: groups.slice(0, MAX_GROUPS).map((group) => ({
      values: group.values,
      n: group.rows.length,
      ids: packed(group.rows),
      cells: names.map((name) => summaryOf(name, group.rows.map((row) => cellOf(set, row, name)))),
    })),
    n_groups: groups.length,
    matching: rows.length,
    total: rowsOf(set, question.experiments).length,
  }
}

/** What each run is grouped by: its text, its number, or the range that this lies in. */
function labelsOf(name: string, rows: readonly RunRow[], set: PublishedSet): readonly Value[] {
  const cells = rows.map((row) => cellOf(set, row, name))
  if (!isNumberColumn(name)) return cells
  const numbers = cells.map((cell) => {
    const value = cellNumber(cell)
    return value !== null && Number.isFinite(value) ? value : null
  })
  const there = numbers.filter((value) => value !== null)
  if (new Set(there).size <= MAX_DISTINCT_NUMBERS) return numbers
  let [low, high] = [Infinity, -Infinity]
  for (const value of there) {
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  // Halved first: the whole width of the numbers is no number.
  const width = high / N_RANGES - low / N_RANGES
  const edges = [...Array.from({ length: N_RANGES }, (_, n) => low + width * n), high]
  return numbers.map((value) => {
    if (value === null) return null
    const at = Math.min(N_RANGES - 1, Math.trunc((value - low) / width))
    return [edges[at] as number, edges[at + 1] as number]
  })
}

/** Numbers before text before what is missing. */
function rank(value: Value): readonly [kind: number, number: number, text: string] {
  if (value === null) return [2, 0, ""]
  if (typeof value === "object") return [0, value[0], ""]
  const number = numberOf(value)
  return number === null ? [1, 0, String(value)] : [0, number, String(value)]
}

function byRank(a: readonly Value[], b: readonly Value[]): number {
  for (const [at, value] of a.entries()) {
    const [mine, other] = [rank(value), rank(b[at] ?? null)]
    for (const [place, one] of mine.entries()) {
      const two = other[place] as number | string
      if (one !== two) return one < two ? -1 : 1
    }
  }
  return 0
}

/** The number that a cell's text is; null where it is none, NaN included. */
function numberOf(value: Exclude<Cell, null>): number | null {
  if (typeof value === "number") return value
  const infinite = /^\s*([+-]?)(inf|infinity)\s*$/i.exec(value)
  if (infinite) return infinite[1] === "-" ? -Infinity : Infinity
  const isOne = /^\s*[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(value)
  return isOne ? Number(value.replaceAll("_", "")) : null
}

function summaryOf(name: string, cells: readonly Cell[]): Summary | null {
  const there = cells.filter((cell) => cell !== null)
  if (isNumberColumn(name)) {
    const found = ofNumbers(there.map((cell) => cellNumber(cell) ?? NaN))
    return found ?? (there.length > 0 ? { n: 0 } : null)
  }
  const numbers = there.map(numberOf)
  if (numbers.every((value) => value !== null && Number.isFinite(value))) {
    return ofNumbers(numbers.map(Number))
  }
  const distinct = new Set(there.map(String))
  const [first] = distinct
  return {
    n: there.length,
    distinct: distinct.size,
    ...(distinct.size === 1 && first !== undefined ? { value: first } : {}),
  }
}

/** What the finite of some numbers have in common; null where there is none. */
function ofNumbers(all: readonly number[]): Summary | null {
  const numbers = all.filter(Number.isFinite)
  const n = numbers.length
  if (n === 0) return null
  let [min, max, sum] = [Infinity, -Infinity, 0]
  for (const value of numbers) {
    min = Math.min(min, value)
    max = Math.max(max, value)
    sum += value
  }
  const mean = min === max ? min : sum / n
  let squares = 0
  for (const value of numbers) squares += (value - mean) ** 2
  const sd = n < 2 ? NaN : Math.sqrt(squares / (n - 1))
  const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)
  return { n, mean: finite(mean), sd: finite(sd), min, max }
}
