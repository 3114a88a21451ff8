/**
 * Colours by what a run was given or reached, where its own colour is not to name it: one of a
 * column's values each, or eight steps from its lowest to its highest number.
 */

import { number } from "../text/format"
import { visible } from "../text/visible"
import type { Theme } from "../theme"
import type { Cell } from "./api"
import type { Dash } from "./colour"
import { slotColour } from "./colour"
import { cellNumber, columnTitle } from "./columns"

export interface RunLook {
  readonly colour: string
  readonly dash: Dash
}

/** One line of the legend. */
export interface ColourClass extends RunLook {
  readonly key: string
  readonly label: string
  readonly runIds: readonly string[]
}

export interface Colouring {
  readonly column: string
  readonly title: string
  readonly classes: readonly ColourClass[]
  /** The look of a run with this value, one that is not in the legend too. */
  readonly of: (cell: Cell | undefined) => RunLook
}

export interface ValuedRun {
  readonly id: string
  readonly cell: Cell | undefined
}

const MAX_VALUES = 24
const N_COLOURS = 8
const N_STEPS = 8
const LOG_FROM = 100
// Of viridis the parts that have 3:1 on the background.
const RAMPS: Record<Theme, readonly string[]> = {
  light: ["#440154", "#472777", "#414487", "#355f8d", "#2c728e", "#25848e", "#21918c", "#1fa088"],
  dark: ["#2f6c8e", "#25848e", "#1e9c89", "#2fb47c", "#5ec962", "#9bd93c", "#dfe318", "#fde725"],
}

function numberOf(cell: Cell | undefined): number | null {
  const found = cellNumber(cell)
  if (found !== null) return Number.isFinite(found) ? found : null
  if (typeof cell !== "string" || cell.trim() === "") return null
  const read = Number(cell)
  return Number.isFinite(read) ? read : null
}

/** Give each run a look by its value in a column. */
export function colouring(column: string, runs: readonly ValuedRun[], theme: Theme): Colouring {
  const known = runs.filter((run) => run.cell !== null && run.cell !== undefined)
  const values = new Set(known.map((run) => String(run.cell)))
  const isNumeric = known.length > 0 && known.every((run) => numberOf(run.cell) !== null)
  return isNumeric && values.size > N_COLOURS
    ? byNumber(column, runs, theme)
    : byValue(column, runs, [...values], isNumeric, theme)
}

function byValue(
  column: string,
  runs: readonly ValuedRun[],
  values: string[],
  isNumeric: boolean,
  theme: Theme,
): Colouring {
  const order = isNumeric
    ? (a: string, b: string): number => Number(a) - Number(b)
    : (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true })
  const places = new Map(values.sort(order).map((value, at) => [value, at]))
  const nPlaces = Math.min(values.length, MAX_VALUES)
  // What has no value, and what there is no look left for, share the next place.
  const placeOf = (cell: Cell | undefined): number =>
    cell === null || cell === undefined
      ? nPlaces
      : Math.min(places.get(String(cell)) ?? nPlaces, nPlaces)
  const look = (place: number): RunLook => ({
    colour: slotColour(place, theme),
    dash: (Math.floor(place / N_COLOURS) % 3) as Dash,
  })
  const labelOf = (place: number): string =>
    place < nPlaces
      ? visible(values[place] ?? "", 80) || "(empty)"
      : values.length > MAX_VALUES
        ? "all others"
        : "no value"
  const of = (cell: Cell | undefined): RunLook => look(placeOf(cell))
  return {
    column,
    title: columnTitle(column),
    classes: classesOf(runs, (run) => placeOf(run.cell), labelOf, look),
    of,
  }
}

function byNumber(column: string, runs: readonly ValuedRun[], theme: Theme): Colouring {
  let low = Infinity
  let high = -Infinity
  for (const { cell } of runs) {
    const value = numberOf(cell)
    if (value === null) continue
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  const isLog = low > 0 && high / low >= LOG_FROM
  const scale = isLog ? Math.log : (value: number): number => value
  const [from, to] = [scale(low), scale(high)]
  const back = (at: number): number => {
    const value = from + ((to - from) * at) / N_STEPS
    return isLog ? Math.exp(value) : value
  }
  const placeOf = (cell: Cell | undefined): number => {
    const value = numberOf(cell)
    if (value === null) return N_STEPS
    const share = to > from ? (scale(value) - from) / (to - from) : 0
    return Math.max(0, Math.min(N_STEPS - 1, Math.floor(share * N_STEPS)))
  }
  const look = (place: number): RunLook =>
    place < N_STEPS
      ? { colour: RAMPS[theme][place] ?? "", dash: 0 }
      : // Coral, which no step has.
        { colour: slotColour(1, theme), dash: 2 }
  const labelOf = (place: number): string =>
    place < N_STEPS ? `${number(back(place), 3)} – ${number(back(place + 1), 3)}` : "no value"
  return {
    column,
    title: columnTitle(column),
    classes: classesOf(runs, (run) => placeOf(run.cell), labelOf, look),
    of: (cell) => look(placeOf(cell)),
  }
}

function classesOf(
  runs: readonly ValuedRun[],
  placeOf: (run: ValuedRun) => number,
  labelOf: (place: number) => string,
  look: (place: number) => RunLook,
): ColourClass[] {
  const members = new Map<number, string[]>()
  for (const run of runs) {
    const place = placeOf(run)
    const found = members.get(place)
    if (found) found.push(run.id)
    else members.set(place, [run.id])
  }
  return [...members]
    .sort(([a], [b]) => a - b)
    .map(([place, runIds]) => ({ key: String(place), label: labelOf(place), runIds, ...look(place) }))
}
