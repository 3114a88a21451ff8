/** What was published: the first piece, which names all others. */

import type { KeysAnswer } from "../charts/grid"
import type { Share } from "../public/share"
import type { KnownKeys, RunRow } from "../runs/api"
import type { Standing } from "../runs/changes"
import { jsonOf } from "./data"

/** A piece with lines of one metric, and the chunk of runs that its places are of. */
export type SeriesPiece = readonly [name: string, chunk: number]

/** The curves as of one moment. */
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
  /** Of a report: curves of panels that were frozen before it was published. */
  readonly moments?: readonly (Curves & { readonly at: number })[]
}

let found: Promise<PublishedSet> | null = null

/** The rows of a question's experiments: of a report these are its panels. */
export function rowsOf({ rows, panels }: PublishedSet, experiments: unknown): readonly RunRow[] {
  if (panels === undefined || !Array.isArray(experiments)) return rows
  const wanted = new Set(experiments.flatMap((one) => (Object.hasOwn(panels, one) ? (panels[one] ?? []) : [])))
  return rows.filter((row) => wanted.has(row.id))
}

/** The curves as of a moment; all of them for one that is none of a panel's. */
export function curvesAt(set: PublishedSet, at: unknown): Curves {
  return set.moments?.find((one) => one.at === at) ?? set
}

export function publishedSet(): Promise<PublishedSet> {
  const name = document.querySelector<HTMLMetaElement>('meta[name="weir-data"]')?.content ?? ""
  found ??= jsonOf<PublishedSet>(name)
  return found
}
