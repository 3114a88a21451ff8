/**
 * What somebody has arranged in a workspace: one immutable document of plain JSON. Every change is
 * a patch, which has an inverse (`history.ts`); the document is kept as a view (`store.ts`) and in
 * part in the URL (`url.ts`).
 */

/** Which runs are drawn: a rule, which holds for new runs too, and runs that it does not fit. */
export interface EyeRule {
  readonly base: "all" | "none" | "running" | "top"
  /** For `top`: how many of the list's first runs. */
  readonly n: number
  readonly shown: readonly string[]
  readonly hidden: readonly string[]
}

export interface ColumnChoice {
  /** As the API names it: `params.lr`, `metrics.loss:min`. */
  readonly name: string
  readonly width?: number
  /** Shown in the side bar too. */
  readonly isPinned: boolean
}

export interface SideBar {
  readonly width: number
  readonly isTable: boolean
  readonly isClosed: boolean
}

export type Centre = "mean" | "median" | "min" | "max"
export type Band = "minmax" | "sd" | "se" | "p10p90" | "none"

export interface ViewDocument {
  readonly version: 1
  readonly filter: string
  readonly search: string
  readonly isRegex: boolean
  /** Terms such as `-metrics.loss:min`; empty is newest first. */
  readonly order: readonly string[]
  readonly columns: readonly ColumnChoice[]
  readonly groupBy: readonly string[]
  readonly centre: Centre
  readonly band: Band
  readonly eye: EyeRule
  /** The column whose values colour the runs; "" for a colour of each run's own. */
  readonly colourBy: string
  readonly pins: readonly string[]
  readonly baseline: string | null
  readonly hidesCrashed: boolean
  readonly showsDeleted: boolean
  /** Metrics of which the larger value is the better one. */
  readonly higherIsBetter: readonly string[]
  readonly side: SideBar
  readonly chartSearch: string
  /** The chart grid's own; plain JSON that only the grid reads. */
  readonly settings: unknown
  readonly layout: unknown
}

export type Patch = Partial<Omit<ViewDocument, "version">>

export const EVERYTHING: EyeRule = { base: "all", n: 0, shown: [], hidden: [] }

export const DEFAULT_VIEW: ViewDocument = {
  version: 1,
  filter: "",
  search: "",
  isRegex: false,
  order: [],
  columns: [],
  groupBy: [],
  centre: "mean",
  band: "minmax",
  eye: EVERYTHING,
  colourBy: "",
  pins: [],
  baseline: null,
  hidesCrashed: false,
  showsDeleted: false,
  higherIsBetter: [],
  side: { width: 280, isTable: false, isClosed: false },
  chartSearch: "",
  settings: null,
  layout: null,
}

export const MAX_PINS = 20
const RUN_ID = /^[0-9a-f]{32}$/
const MAX_LIST = 2_000
const MAX_TEXT = 8_000

type Json = Record<string, unknown>

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function text(value: unknown, fallback = ""): string {
  return typeof value === "string" ? value.slice(0, MAX_TEXT) : fallback
}

function texts(value: unknown): string[] {
  if (!Array.isArray(value)) return []
  return value.filter((one): one is string => typeof one === "string").slice(0, MAX_LIST)
}

export function runIds(value: unknown): string[] {
  return [...new Set(texts(value).filter((one) => RUN_ID.test(one)))]
}

function oneOf<T extends string>(value: unknown, choices: readonly T[], fallback: T): T {
  return choices.find((choice) => choice === value) ?? fallback
}

function whole(value: unknown, low: number, high: number, fallback: number): number {
  if (typeof value !== "number" || !Number.isFinite(value)) return fallback
  return Math.min(high, Math.max(low, Math.round(value)))
}

function columns(value: unknown): ColumnChoice[] {
  if (!Array.isArray(value)) return []
  const found = new Map<string, ColumnChoice>()
  for (const one of value.slice(0, 200)) {
    if (!isObject(one) || typeof one.name !== "string" || !one.name) continue
    const width = whole(one.width, 40, 1_000, 0)
    found.set(one.name, {
      name: one.name.slice(0, 600),
      isPinned: one.isPinned === true,
      ...(width ? { width } : {}),
    })
  }
  return [...found.values()]
}

export function eyeRule(value: unknown): EyeRule {
  if (!isObject(value)) return EVERYTHING
  return {
    base: oneOf(value.base, ["all", "none", "running", "top"], "all"),
    n: whole(value.n, 0, 1_000, 0),
    shown: runIds(value.shown),
    hidden: runIds(value.hidden),
  }
}

/**
 * Read a document that was kept, whatever version or hand wrote it: what cannot be understood is
 * as it is by default.
 *
 * @returns null where it is no document at all.
 */
export function readDocument(kept: string): ViewDocument | null {
  let value: unknown
  try {
    value = JSON.parse(kept)
  } catch {
    return null
  }
  if (!isObject(value) || value.version !== 1) return null
  const side = isObject(value.side) ? value.side : {}
  const baseline = text(value.baseline)
  return {
    version: 1,
    filter: text(value.filter),
    search: text(value.search),
    isRegex: value.isRegex === true,
    order: texts(value.order).slice(0, 5),
    columns: columns(value.columns),
    groupBy: texts(value.groupBy).slice(0, 4),
    centre: oneOf(value.centre, ["mean", "median", "min", "max"], "mean"),
    band: oneOf(value.band, ["minmax", "sd", "se", "p10p90", "none"], "minmax"),
    eye: eyeRule(value.eye),
    colourBy: text(value.colourBy).slice(0, 600),
    pins: runIds(value.pins).slice(0, MAX_PINS),
    baseline: RUN_ID.test(baseline) ? baseline : null,
    hidesCrashed: value.hidesCrashed === true,
    showsDeleted: value.showsDeleted === true,
    higherIsBetter: texts(value.higherIsBetter),
    side: {
      width: whole(side.width, 180, 600, 280),
      isTable: side.isTable === true,
      isClosed: side.isClosed === true,
    },
    chartSearch: text(value.chartSearch),
    settings: value.settings ?? null,
    layout: value.layout ?? null,
  }
}

/** Say whether two documents show the same. */
export function isSame(one: ViewDocument, other: ViewDocument): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other)
}
