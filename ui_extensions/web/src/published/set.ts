/** What was published: the first piece, which names all others. */

import type { KeysAnswer } from "../charts/grid"
import type { Share } from "../public/share"
import type { KnownKeys, RunRow } from "../runs/api"
import type { Standing } from "../runs/changes"
import { jsonOf } from "./data"

/** A piece with lines of one metric, and the chunk of runs that its places are of. */
export type SeriesPiece = readonly [name: string, chunk: number]

export interface PublishedSet {
  readonly share: Share
  readonly columns: KnownKeys
  readonly keys: KeysAnswer
  readonly standing: Standing
  /** Names of the rows' cells. */
  readonly names: readonly string[]
  readonly rows: readonly RunRow[]
  /** Each run's piece. */
  readonly runs: Readonly<Record<string, string>>
  readonly chunks: readonly (readonly string[])[]
  readonly series: Readonly<Record<string, { readonly step: readonly SeriesPiece[]; readonly relative: readonly SeriesPiece[] }>>
  /** When each run's first point was. */
  readonly first_ms: Readonly<Record<string, number>>
}

let found: Promise<PublishedSet> | null = null

export function publishedSet(): Promise<PublishedSet> {
  const name = document.querySelector<HTMLMetaElement>('meta[name="weir-data"]')?.content ?? ""
  found ??= jsonOf<PublishedSet>(name)
  return found
}
