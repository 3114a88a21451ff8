/** The run list, as `POST runs`, `groups` and `columns` have it; what changes runs is in `act.ts`. */

import type { CallOptions } from "../api/client"
import { call } from "../api/client"
import type { Standing } from "./changes"

export type Cell = number | string | null

export interface RunRow {
  readonly id: string
  readonly name: string
  readonly experiment: string
  /** The run's number in its experiment, which its colour follows from. */
  readonly ordinal: number
  readonly user: string
  readonly status: string
  readonly start: number | null
  readonly end: number | null
  readonly stage: string
  readonly colour?: string
  readonly cause?: string
  readonly note?: string
  readonly parent?: string
  /** One for each column that was asked for. */
  readonly cells: readonly Cell[]
}

export interface Condition {
  readonly kind: "metrics" | "params" | "tags" | "attributes" | "datasets"
  readonly key: string
  readonly aggregate: string
  readonly comparator: string
  readonly values: readonly (number | string)[]
}

export interface Group {
  readonly joined: "and" | "or" | "not"
  readonly parts: readonly Tree[]
}

export type Tree = Condition | Group

export interface RunsQuestion {
  readonly experiments: readonly string[]
  readonly filter: string
  readonly search: string
  readonly regex: boolean
  readonly order: readonly string[]
  readonly columns: readonly string[]
  readonly deleted: boolean
  readonly limit: number
  readonly ids: boolean
  readonly known?: string | null
  /** As of which moment the rows are; null for now. */
  readonly at: number | null
}

export interface RunsAnswer {
  readonly rows: readonly RunRow[]
  readonly total: number
  readonly matching: number
  readonly digest: string
  readonly ids: string | null
  readonly filter: { readonly text: string; readonly tree: Tree | null }
  readonly now: number
  /** How the experiments stood just before. */
  readonly standing: Standing
}

export function askRuns(question: RunsQuestion, options: CallOptions): Promise<RunsAnswer> {
  return call<RunsAnswer>("runs", question, options)
}

export async function readRows(
  experiments: readonly string[],
  runIds: readonly string[],
  columns: readonly string[],
  deleted: boolean,
  at: number | null,
  options: CallOptions,
): Promise<readonly RunRow[]> {
  const body = { experiments, run_ids: runIds, columns, deleted, at }
  const answer = await call<{ rows: readonly RunRow[] }>("runs", body, options)
  return answer.rows
}

export interface Summary {
  readonly n: number
  readonly mean?: number | null
  readonly sd?: number | null
  readonly min?: number
  readonly max?: number
  readonly distinct?: number
  readonly value?: string
}

export interface RunGroup {
  /** Of each key: text, a number, the two ends of a range, or null where there is none. */
  readonly values: readonly (string | number | readonly [number, number] | null)[]
  readonly n: number
  readonly ids: string
  readonly cells: readonly (Summary | null)[]
}

export interface GroupsAnswer {
  readonly groups: readonly RunGroup[]
  readonly n_groups: number
  readonly matching: number
  readonly total: number
}

export interface KnownKey {
  readonly key: string
  readonly n_runs: number
  readonly is_number: boolean
  readonly values: readonly string[]
}

export interface KnownKeys {
  readonly params: readonly KnownKey[]
  readonly tags: readonly KnownKey[]
  readonly metrics: readonly KnownKey[]
}

/** Ids as they come: 16 bytes each, turned into text only where one is looked at. */
export class RunIds {
  readonly count: number
  readonly #bytes: Uint8Array

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.count = Math.floor(bytes.length / 16)
  }

  static readonly NONE = new RunIds(new Uint8Array(0))

  /** @param text Base64. */
  static decode(text: string): RunIds {
    const raw = atob(text)
    const bytes = new Uint8Array(raw.length)
    for (let at = 0; at < raw.length; at += 1) bytes[at] = raw.charCodeAt(at)
    return new RunIds(bytes)
  }

  at(index: number): string {
    let text = ""
    for (let byte = 16 * index; byte < 16 * index + 16; byte += 1) {
      text += HEX[this.#bytes[byte] ?? 0]
    }
    return text
  }

  slice(start: number, end: number): string[] {
    const found: string[] = []
    for (let at = Math.max(0, start); at < Math.min(end, this.count); at += 1) found.push(this.at(at))
    return found
  }
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))
