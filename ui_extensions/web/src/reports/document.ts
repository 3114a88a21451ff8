/**
 * What a report consists of: the tree that the editor writes as JSON and the server checks
 * (`store/sharing/report_document.py`). A reader's page shows nodes that it knows and nothing else.
 */

import type { CardLayout, ChartSettings } from "../charts/types"
import type { Band, Centre } from "../view/document"

export interface Mark {
  readonly type: string
  readonly attrs?: Readonly<Record<string, unknown>>
}

export interface Node {
  readonly type: string
  readonly attrs?: Readonly<Record<string, unknown>>
  readonly content?: readonly Node[]
  readonly marks?: readonly Mark[]
  readonly text?: string
}

export const PANEL_KINDS = ["charts", "runs", "compare", "media", "code"] as const
export type PanelKind = (typeof PANEL_KINDS)[number]
export const PANEL_WORDS: Record<PanelKind, string> = {
  charts: "Charts",
  runs: "Table of runs",
  compare: "Runs side by side",
  media: "Images of runs",
  code: "Code of runs",
}

/** Which runs a panel shows. */
export interface RunSet {
  readonly experiments: readonly string[]
  /** Some by their ids; null for those that the filter finds. */
  readonly ids: readonly string[] | null
  readonly filter: string
  readonly search: string
  readonly regex: boolean
  readonly order: readonly string[]
  readonly groupBy: readonly string[]
  readonly centre: Centre
  readonly band: Band
  readonly colourBy: string
  readonly most: number
  /** Frozen at this moment, by the server's clock in ms; null is live. */
  readonly at: number | null
}

export interface Panel {
  /** What comments are bound to; none before a report was kept with it. */
  readonly id?: string
  readonly kind: PanelKind
  readonly title: string
  readonly runs: RunSet
  readonly cards?: readonly CardLayout[]
  readonly settings?: Partial<ChartSettings> | null
  readonly columns?: readonly string[]
  readonly parts?: readonly string[]
  readonly differences?: boolean
  readonly keys?: readonly string[]
}

export const MAX_NAMED = 200

export function runSet(experiments: readonly string[], more: Partial<RunSet> = {}): RunSet {
  return {
    experiments,
    ids: null,
    filter: "",
    search: "",
    regex: false,
    order: [],
    groupBy: [],
    centre: "mean",
    band: "minmax",
    colourBy: "",
    most: 100,
    at: null,
    ...more,
  }
}

export const CALLOUTS = ["note", "tip", "warning", "danger"] as const
export type Callout = (typeof CALLOUTS)[number]
export const CALLOUT_WORDS: Record<Callout, string> = {
  note: "Note",
  tip: "Tip",
  warning: "Warning",
  danger: "Danger",
}

export function calloutOf(value: unknown): Callout {
  return CALLOUTS.find((one) => one === value) ?? "note"
}

/** All text below a node. */
export function textOf(node: Node): string {
  if (node.type === "text") return node.text ?? ""
  if (node.type === "math" || node.type === "mathBlock") return String(node.attrs?.tex ?? "")
  if (node.type === "hardBreak") return " "
  return (node.content ?? []).map(textOf).join("")
}

export interface Heading {
  readonly level: number
  readonly text: string
  readonly node: Node
}

/** The headings, in order; they are at the top of the document or inside other blocks. */
export function headingsOf(document: Node): Heading[] {
  const found: Heading[] = []
  const walk = (node: Node): void => {
    if (node.type === "heading") {
      found.push({ level: Number(node.attrs?.level ?? 1), text: textOf(node), node })
    } else node.content?.forEach(walk)
  }
  walk(document)
  return found
}

export function panelsOf(document: Node): Panel[] {
  const found: Panel[] = []
  const walk = (node: Node): void => {
    const panel = panelOf(node)
    if (panel !== null) found.push(panel)
    node.content?.forEach(walk)
  }
  walk(document)
  return found
}

/** The panel of a node, or null where it is none that can be shown. */
export function panelOf(node: Node): Panel | null {
  if (node.type !== "panel") return null
  const panel = node.attrs?.panel as Panel | undefined
  const isKnown = panel !== undefined && panel !== null && PANEL_KINDS.includes(panel.kind)
  return isKnown && Array.isArray(panel.runs?.experiments) ? panel : null
}

/** How long it takes to read, in minutes. */
export function minutesOf(document: Node): number {
  const words = (document.content ?? []).map(textOf).join(" ").split(/\s+/).length
  return Math.max(1, Math.round(words / 220))
}

const WITHOUT: readonly string[] = ["image", "panel", "horizontalRule", "contents"]

/** Say whether there is nothing to read. */
export function isBlank(document: Node): boolean {
  const has = (node: Node): boolean =>
    WITHOUT.includes(node.type) || textOf(node).trim() !== "" || (node.content ?? []).some(has)
  return !(document.content ?? []).some(has)
}
