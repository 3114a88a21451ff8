/** What was published: the first piece, which names all others. */

import type { KeysAnswer } from "../charts/grid"
import type { Share } from "../public/share"
import type { KnownKeys, RunRow } from "../runs/api"
import type { Standing } from "../runs/changes"
import { jsonOf } from "./data"

/** A piece with lines of one metric, and the chunk of runs that its places are of. */
export type SeriesPiece = readonly [name: string, chunk: number]

/** The curves up to one moment. */
export interface Curves {
  readonly chunks: readonly (readonly string[])[]
  readonly series: Readonly<Record<string, { readonly step: readonly SeriesPiece[]; readonly relative: readonly SeriesPiece[] }>>
  /** When each run's first point was. */
  readonly first_ms: Readonly<Record<string, number>>
}

export interface PublishedSet extends Curves {
  readonly share: Share
  readonly columns: KnownKeys
  readonly keys: KeysAnswer
  readonly standing: Standing
  /** Names of the rows' cells. */
  readonly names: readonly string[]
  readonly rows: readonly RunRow[]
  /** Each run's piece. */
  readonly runs: Readonly<Record<string, string>>
  /** Of a report: the runs of each panel, by what it calls its experiment. */
  readonly panels?: Readonly<Record<string, readonly string[]>>
  /** Of a report: its pictures by id, each its piece and its type. */
  readonly images?: Readonly<Record<string, readonly [name: string, type: string]>>
  /** Of a report: what panels show that were frozen before it was published. */
  readonly moments?: readonly Moment[]
}

/** What some panels show as of an earlier moment: their curves, rows, and pieces of runs side by side. */
interface Moment extends Curves {
  readonly at: number
  readonly rows: readonly RunRow[]
  readonly compared: Readonly<Record<string, string>>
}

let found: Promise<PublishedSet> | null = null

/** The rows of a question's experiments: of a report these are its panels. */
export function rowsOf({ rows, panels }: PublishedSet, experiments: unknown): readonly RunRow[] {
  if (panels === undefined || !Array.isArray(experiments)) return rows
  const wanted = new Set(experiments.flatMap((one) => (Object.hasOwn(panels, one) ? (panels[one] ?? []) : [])))
  return rows.filter((row) => wanted.has(row.id))
}

/** What panels show as of a moment; undefined for one that is none of a panel's. */
export function momentOf(set: PublishedSet, at: unknown): Moment | undefined {
  return set.moments?.find((one) => one.at === at)
}

const sets = new WeakMap<Moment, PublishedSet>()

/** The same set with its runs as they were at a moment of a panel's. */
export function setAt(set: PublishedSet, at: unknown): PublishedSet {
  const moment = momentOf(set, at)
  if (moment === undefined) return set
  let found = sets.get(moment)
  if (found === undefined) {
    const then = new Map(moment.rows.map((row) => [row.id, row]))
    found = { ...set, rows: set.rows.map((row) => then.get(row.id) ?? row) }
    sets.set(moment, found)
  }
  return found
}

export function publishedSet(): Promise<PublishedSet> {
  const name = document.querySelector<HTMLMetaElement>('meta[name="weir-data"]')?.content ?? ""
  found ??= jsonOf<PublishedSet>(name)
  return found
}
