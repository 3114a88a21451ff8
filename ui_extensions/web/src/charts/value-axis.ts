/** Axes over what runs have in a column: numbers, by magnitude too, times, or words. */

import type { Cell } from "../runs/api"
import { cellTitle, columnTitle, isNumberColumn, parseColumn } from "../runs/columns"
import { dateTime, duration, number } from "../text/format"
import { middleCut } from "../text/names"
import { visible } from "../text/visible"
import { tick } from "./ticks"
import { numberOf } from "./use-cells"

export interface ValueAxis {
  readonly isNumber: boolean
  readonly isLog: boolean
  /** From 0, the lower end, to 1; null for what has no place: nothing, NaN, an infinity. */
  readonly place: (cell: Cell | undefined) => number | null
  readonly ticks: readonly { readonly at: number; readonly text: string }[]
}

/** Room beside the first and the last value. */
const PADDING = 1 / 32
const MAGNITUDES = 50
const MAX_WORD = 24

/** What a tick says. */
function tickText(column: string, value: number): string {
  const { kind, key } = parseColumn(column)
  if (kind === "attributes" && key === "duration") return duration(value)
  if (kind === "attributes") return dateTime(value).slice(0, 16)
  return tick(value)
}

/** What a run has in a column, and what that is called. */
export function cellFact(column: string, cell: Cell | undefined): readonly [name: string, value: string] {
  const { kind, key } = parseColumn(column)
  const isSpan = kind === "attributes" && key === "duration"
  const text = typeof cell !== "number" ? cellTitle(column, cell) : isSpan ? duration(cell) : kind === "metrics" ? number(cell) : cellTitle(column, cell)
  return [columnTitle(column), text || "–"]
}

/** Round numbers from low to high, about so many. */
export function roundNumbers(low: number, high: number, n: number): number[] {
  const size = high - low
  if (!(size > 0)) return [low]
  const power = 10 ** Math.floor(Math.log10(size / n))
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => size / one <= n) ?? 10 * power
  const found: number[] = []
  for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at += 1) found.push(Number((at * step).toPrecision(12)))
  return found
}

/** A power of ten as it is written: some are a hair beside it otherwise. */
function ten(power: number): number {
  return Number(`1e${power}`)
}

function magnitudes(low: number, high: number, n: number): number[] {
  const from = Math.ceil(Math.log10(low) - 1e-9)
  const to = Math.floor(Math.log10(high) + 1e-9)
  const decades = to - from + 1
  if (decades < 2) {
    const found: number[] = []
    for (let power = from - 1; power <= to; power += 1) {
      for (const one of [1, 2, 5]) {
        const value = Number((one * ten(power)).toPrecision(12))
        if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) found.push(value)
      }
    }
    return found
  }
  const by = Math.max(1, Math.ceil(decades / n))
  return Array.from({ length: Math.ceil(decades / by) }, (_, at) => ten(from + at * by))
}

/**
 * Return the axis for what some runs have.
 *
 * @param isLog Null where the values decide: positive ones that span magnitudes.
 * @param nTicks About so many.
 */
export function valueAxis(
  column: string,
  cells: readonly (Cell | undefined)[],
  isLog: boolean | null,
  nTicks: number,
): ValueAxis {
  const present = cells.filter((cell) => cell !== null && cell !== undefined && cell !== "")
  const numbers = present.map(numberOf)
  const isNumber = isNumberColumn(column) || (present.length > 0 && numbers.every((one) => one !== null))
  if (!isNumber) return words(present.map(String), nTicks)
  let low = Infinity
  let high = -Infinity
  let positive = Infinity
  for (const value of numbers) {
    if (value === null || !Number.isFinite(value)) continue
    low = Math.min(low, value)
    high = Math.max(high, value)
    if (value > 0) positive = Math.min(positive, value)
  }
  if (low > high) return { isNumber: true, isLog: false, place: () => null, ticks: [] }
  const isBy = isLog === null ? low > 0 && high / low > MAGNITUDES : isLog && high > 0
  if (isBy) low = positive
  const on = isBy ? Math.log10 : (value: number): number => value
  const from = on(low)
  const size = on(high) - from
  const at = (value: number): number | null => {
    if (isBy && value <= 0) return null
    return size > 0 ? PADDING + ((on(value) - from) / size) * (1 - 2 * PADDING) : 0.5
  }
  const round = size > 0 ? (isBy ? magnitudes(low, high, nTicks) : roundNumbers(low, high, nTicks)) : [low]
  return {
    isNumber: true,
    isLog: isBy,
    place: (cell) => {
      const value = numberOf(cell)
      return value === null || !Number.isFinite(value) ? null : at(value)
    },
    ticks: round.flatMap((value) => {
      const where = at(value)
      return where === null ? [] : [{ at: where, text: tickText(column, value) }]
    }),
  }
}

function words(present: readonly string[], nTicks: number): ValueAxis {
  const all = [...new Set(present)].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }))
  const place = (at: number): number => (all.length > 1 ? PADDING + (at / (all.length - 1)) * (1 - 2 * PADDING) : 0.5)
  const known = new Map(all.map((word, at) => [word, place(at)]))
  const by = Math.max(1, Math.ceil(all.length / Math.max(1, nTicks)))
  return {
    isNumber: false,
    isLog: false,
    place: (cell) => (cell === null || cell === undefined ? null : (known.get(String(cell)) ?? null)),
    ticks: all.flatMap((word, at) => (at % by === 0 ? [{ at: place(at), text: middleCut(visible(word), MAX_WORD) }] : [])),
  }
}
