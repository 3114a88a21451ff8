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
  groups: null,
  centre: "mean",
  band: "minmax",
}

export interface CardLayout {
  id: string
  kind: "line"
  keys: string[]
  /** Columns it spans, of the section's. */
  w: number
  /** Height, in rows of 20 px. */
  h: number
  settings?: Partial<ChartSettings>
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

export const EMPTY_LAYOUT: GridLayout = { sections: [], favourites: [] }
