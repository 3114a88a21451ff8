/** Shared links, as `POST shares/…` has them. */

import type { CallOptions } from "../api/client"
import { call } from "../api/client"
import type { ViewDocument } from "../view/document"

export type ShareKind = "run" | "runs" | "view" | "experiment" | "report"
export type ShareState = "active" | "paused" | "expired" | "revoked" | "off"
export type ShareAction = "pause" | "resume" | "revoke" | "rotate"
export type Policy = "off" | "authenticated" | "on"

/** What is shown beside the keys that are named one by one. */
export const PARTS = [
  "notes",
  "code",
  "patch",
  "console",
  "command",
  "host",
  "git_url",
  "files",
  "media",
  "hardware",
  "histograms",
] as const
export type Part = (typeof PARTS)[number]
export const KEYED = ["metrics", "params", "tags"] as const
export type Keyed = (typeof KEYED)[number]

/** All metrics but the hardware's and the gradients', also those that come later. */
export const EVERY = "*"

/** What visitors see; nothing that is not named. */
export type Shown = Readonly<Record<Keyed, readonly string[]>> & Readonly<Record<Part, boolean>>

export interface RunFilter {
  readonly filter: string
  readonly search: string
  readonly regex: boolean
}

/** Which runs are meant: some by their ids, those a filter finds, or all of the experiments. */
export interface Meant {
  readonly experiment_ids: readonly string[]
  readonly run_ids: readonly string[] | null
  readonly filter: RunFilter | null
  /** A report instead: its panels say which runs. */
  readonly report_id?: string
}

export interface CandidateKey {
  readonly key: string
  /** Null where nobody counted. */
  readonly n_runs: number | null
}

export interface Candidates extends Readonly<Record<Keyed, readonly CandidateKey[]>> {
  readonly n_runs: number
  readonly has: Readonly<Record<Part, boolean>>
  /** Panels of the report are frozen, and so is a link to it. */
  readonly is_frozen?: boolean
}

/** As the server has it: keys that it does not count are names alone. */
type FoundCandidates = Omit<Candidates, Keyed> &
  Readonly<Record<Keyed, readonly (CandidateKey | string)[]>>

export interface NewShare extends Meant {
  readonly kind: ShareKind
  readonly title: string
  readonly view: ViewDocument | null
  readonly is_live: boolean
  readonly shown: Shown
  readonly replaces_names: boolean
  /** Null for as long as the server says. */
  readonly expires_ms: number | "never" | null
  readonly password: string | null
  /** Lives ten minutes and is in no list. */
  readonly is_preview: boolean
}

export interface Share {
  readonly id: string
  readonly kind: ShareKind
  readonly title: string
  readonly experiment_ids: readonly string[]
  readonly n_runs: number | null
  readonly is_live: boolean
  readonly as_of_ms: number | null
  readonly shown: Shown
  readonly replaces_names: boolean
  readonly created_ms: number
  readonly created_by: string | null
  readonly expires_ms: number | null
  readonly has_password: boolean
  readonly state: ShareState
  readonly hits: number
  readonly last_seen_ms: number | null
  readonly may_manage: boolean
}

export interface Shares {
  readonly policy: Policy
  readonly has_login: boolean
  /** The longest a link may live; null or absent where it may live for ever. */
  readonly max_days?: number | null
  /** Sites whose pages may show links in a frame; absent from servers of before. */
  readonly embed?: readonly string[]
  readonly shares: readonly Share[]
}

/** A link that was just made; its token is told this once. */
export interface Made {
  readonly share: Share
  readonly token: string
}

export interface LogEntry {
  readonly at_ms: number
  readonly outcome: string
  readonly address: string
}

export function listShares(experimentId: string | null, options: CallOptions): Promise<Shares> {
  return call<Shares>("shares/list", { experiment_id: experimentId }, options)
}

export async function findCandidates(meant: Meant, options: CallOptions): Promise<Candidates> {
  const found = await call<FoundCandidates>("shares/candidates", meant, options)
  const keys = (kind: Keyed): CandidateKey[] =>
    found[kind].map((one) => (typeof one === "string" ? { key: one, n_runs: null } : one))
  return { ...found, metrics: keys("metrics"), params: keys("params"), tags: keys("tags") }
}

export function createShare(share: NewShare, options: CallOptions = {}): Promise<Made> {
  return call<Made>("shares/create", share, options)
}

export function changeShare(
  id: string,
  action: ShareAction,
): Promise<{ share: Share; token?: string }> {
  return call("shares/change", { id, action })
}

export async function readLog(id: string, options: CallOptions): Promise<readonly LogEntry[]> {
  return (await call<{ entries: readonly LogEntry[] }>("shares/log", { id }, options)).entries
}
