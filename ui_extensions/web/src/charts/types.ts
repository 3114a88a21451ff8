/** What the charts are given: runs, settings, and the layout of a view. */

import type { Smoothing } from "../data/smoothing"

export interface DrawnRun {
  id: string
  name: string
  ordinal: number
  colour: string
  dash: 0 | 1 | 2
  status: string
  startMs: number | null
  endMs: number | null
  isVisible: boolean
  experimentId: string
  /** Only its id is known so far: its series are asked for, and drawn once its name and colour are. */
  isPending?: boolean
}

export interface RunGroup {
  key: string
  label: string
  colour: string
  runIds: string[]
}

/** `rel` is time since a run's first point, `relp` the same without pauses. */
export type XAxis = "step" | "wall" | "rel" | "relp" | `m:${string}`

export interface ChartSettings {
  x: XAxis
  xLog: boolean
  yScale: "linear" | "log" | "symlog"
  smoothing: Smoothing
  outliers: boolean
  minMax: boolean
  zoom: [number, number] | null
  /** The y of a rectangle that was zoomed into; it goes with a zoom of the card's own. */
  zoomY: [number, number] | null
  /** Ends of the y axis; null is what the lines need. */
  yMin: number | null
  yMax: number | null
  groups: RunGroup[] | null
  centre: "mean" | "median" | "min" | "max"
  band: "minmax" | "sd" | "se" | "p10p90" | "none"
}

export const DEFAULT_SETTINGS: ChartSettings = {
  x: "step",
  xLog: false,
  yScale: "linear",
  smoothing: { kind: "none", amount: 0.6, original: true },
  outliers: false,
  minMax: true,
  zoom: null,
  zoomY: null,
  yMin: null,
  yMax: null,
  groups: null,
  centre: "mean",
  band: "minmax",
}

export type Aggregate = "latest" | "min" | "max"

export const CARD_KINDS = [
  "line",
  "scalar",
  "bars",
  "scatter",
  "parallel",
  "importance",
  "compare",
  "media",
  "text",
] as const
/** `scalar` is one number of a metric a run, `compare` runs side by side, `text` Markdown of somebody's. */
export type CardKind = (typeof CARD_KINDS)[number]

export interface CardLayout {
  id: string
  kind: CardKind
  /** Metrics; of media the keys of images. */
  keys: string[]
  /** Somebody made it; the others are there because their metric is. */
  isOwn?: true
  /** Of one's own: what it is called, where its metrics' names do not do. */
  title?: string
  /** Instead of keys: a regular expression that its metrics' names match. */
  pattern?: string
  /** Of a scalar. */
  aggregate?: Aggregate
  /**
   * As the API names them: `params.lr`, `metrics.loss:min`. Of bars the value, and by what they are
   * grouped; of a scatter x and y; of parallel coordinates and importance what it is about, then the
   * others. The card chooses itself where there are none.
   */
  columns?: string[]
  /** Of a comparison: its sections; all of them where there are none. */
  parts?: string[]
  /** Of a comparison: also what is equal. */
  isWhole?: true
  /** Of scalar and bars: the smallest first. */
  isUp?: true
  /** Markdown, where the card is text. */
  text?: string
  /** Columns it spans, of the section's. */
  w: number
  /** Height, in rows of 20 px. */
  h: number
  settings?: Partial<ChartSettings>
}

/** What changes of a card; undefined takes something away. */
export type CardPatch = { readonly [K in Exclude<keyof CardLayout, "id">]?: CardLayout[K] | undefined }

/** The card with what changed of it. */
export function patched(card: CardLayout, patch: CardPatch): CardLayout {
  const all = Object.entries({ ...card, ...patch }).filter(([, value]) => value !== undefined)
  return Object.fromEntries(all) as unknown as CardLayout
}

export interface SectionLayout {
  prefix: string
  isOpen: boolean
  columns: number
  cards: CardLayout[]
}

/** Plain JSON: it lives in the view document. What is not named in it has its default place. */
export interface GridLayout {
  sections: SectionLayout[]
  favourites: string[]
}

/** As many metrics as a card has at most. */
export const MAX_CARD_KEYS = 40
/** As many columns: what a panel is about and 60 params. */
export const MAX_CARD_COLUMNS = 61
/** Cards that are about something also without a metric's name. */
const WITHOUT_KEYS: readonly CardKind[] = ["bars", "scatter", "parallel", "importance", "compare", "media"]
/** Characters of a text. */
export const MAX_CARD_TEXT = 10_000
const MAX_WORDS = 500

function words(value: unknown, most = MAX_WORDS): string {
  return typeof value === "string" ? value.slice(0, most) : ""
}

function strings(value: unknown, most: number): string[] {
  if (!Array.isArray(value)) return []
  return value.filter((one): one is string => typeof one === "string").slice(0, most)
}

export const EMPTY_LAYOUT: GridLayout = { sections: [], favourites: [] }

type Json = Record<string, unknown>

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function oneOf<T extends string>(value: unknown, known: readonly T[], otherwise: T): T {
  return known.includes(value as T) ? (value as T) : otherwise
}

function rangeOf(value: unknown): [number, number] | null {
  if (!Array.isArray(value) || value.length !== 2) return null
  const [from, to] = value.map(finite)
  return from !== null && from !== undefined && to !== null && to !== undefined && from < to ? [from, to] : null
}

function finite(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null
}

/** Read what a card has of its own; only what is there and can be read. */
function ownSettingsOf(value: Json): Partial<ChartSettings> {
  const { groups: _, ...read } = settingsOf(value)
  const isThere = ([key]: [string, unknown]): boolean => Object.hasOwn(value, key)
  return Object.fromEntries(Object.entries(read).filter(isThere))
}

/** Read settings that a view keeps; what cannot be read has its default. */
export function settingsOf(value: unknown): ChartSettings {
  if (!isJson(value)) return DEFAULT_SETTINGS
  const d = DEFAULT_SETTINGS
  const { x } = value
  const smoothing = isJson(value.smoothing) ? value.smoothing : {}
  const amount = Number(smoothing.amount)
  const isAxis =
    typeof x === "string" && (["step", "wall", "rel", "relp"].includes(x) || x.startsWith("m:"))
  return {
    x: isAxis ? (x as XAxis) : d.x,
    xLog: value.xLog === true,
    yScale: oneOf(value.yScale, ["linear", "log", "symlog"], d.yScale),
    smoothing: {
      kind: oneOf(smoothing.kind, ["none", "twema", "ema", "gauss", "mean"], d.smoothing.kind),
      amount: Number.isFinite(amount) && amount >= 0 ? amount : d.smoothing.amount,
      original: smoothing.original !== false,
    },
    outliers: value.outliers === true,
    minMax: value.minMax !== false,
    zoom: rangeOf(value.zoom),
    zoomY: rangeOf(value.zoomY),
    yMin: finite(value.yMin),
    yMax: finite(value.yMax),
    groups: null,
    centre: oneOf(value.centre, ["mean", "median", "min", "max"], d.centre),
    band: oneOf(value.band, ["minmax", "sd", "se", "p10p90", "none"], d.band),
  }
}

/** Read a layout that a view keeps; what cannot be read is left out. */
export function layoutOf(value: unknown): GridLayout {
  if (!isJson(value)) return EMPTY_LAYOUT
  const sections: SectionLayout[] = []
  const size = (n: unknown, least: number, most: number, otherwise: number): number =>
    typeof n === "number" && Number.isFinite(n) ? Math.max(least, Math.min(most, Math.round(n))) : otherwise
  for (const one of Array.isArray(value.sections) ? value.sections : []) {
    if (!isJson(one) || typeof one.prefix !== "string") continue
    const cards: CardLayout[] = []
    for (const card of Array.isArray(one.cards) ? one.cards : []) {
      if (!isJson(card) || typeof card.id !== "string" || !Array.isArray(card.keys)) continue
      const kind = oneOf(card.kind, CARD_KINDS, "line")
      const keys = strings(card.keys, MAX_CARD_KEYS)
      const columns = strings(card.columns, MAX_CARD_COLUMNS)
      const parts = strings(card.parts, MAX_CARD_KEYS)
      const pattern = words(card.pattern)
      const text = kind === "text" ? words(card.text, MAX_CARD_TEXT) : ""
      if (keys.length === 0 && pattern === "" && text === "" && !WITHOUT_KEYS.includes(kind)) continue
      const title = words(card.title)
      cards.push({
        id: card.id,
        kind,
        keys,
        ...(card.isOwn === true ? { isOwn: true as const } : {}),
        ...(title ? { title } : {}),
        ...(pattern ? { pattern } : {}),
        ...(text ? { text } : {}),
        ...(columns.length > 0 ? { columns } : {}),
        ...(parts.length > 0 ? { parts } : {}),
        ...(card.isWhole === true ? { isWhole: true as const } : {}),
        ...(card.isUp === true ? { isUp: true as const } : {}),
        ...(card.aggregate === undefined
          ? {}
          : { aggregate: oneOf(card.aggregate, ["latest", "min", "max"], "latest") }),
        w: size(card.w, 1, 6, 1),
        h: size(card.h, 8, 60, 15),
        ...(isJson(card.settings) ? { settings: ownSettingsOf(card.settings) } : {}),
      })
    }
    sections.push({
      prefix: one.prefix,
      isOpen: one.isOpen !== false,
      columns: size(one.columns, 0, 6, 0),
      cards,
    })
  }
  return { sections, favourites: strings(value.favourites, Infinity) }
}
