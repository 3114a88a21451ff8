/** What is shared, as `POST share` says. */

import { call } from "../api/client"
import type { Node } from "../reports/document"

/** What of the runs is shown; what is not named here is not in any answer. */
export interface Shown {
  readonly metrics: readonly string[]
  readonly params: readonly string[]
  readonly tags: readonly string[]
  readonly notes: boolean
  readonly code: boolean
  readonly patch: boolean
  readonly console: boolean
  readonly command: boolean
  readonly host: boolean
  readonly git_url: boolean
  readonly files: boolean
  readonly hardware: boolean
  readonly histograms: boolean
  readonly media: boolean
}

export interface Share {
  readonly title: string
  readonly kind: "run" | "runs" | "view" | "experiment" | "report"
  readonly is_live: boolean
  /** When it was frozen; null where it is live. */
  readonly as_of_ms: number | null
  readonly shown: Shown
  /** A view document, or null. */
  readonly view: unknown
  /** What its experiments are called here. */
  readonly experiments: readonly string[]
  readonly n_runs: number
  readonly replaces_names: boolean
  /** The run, where the link is to one. */
  readonly run_id?: string | null
  /** The report, where the link is to one. */
  readonly report?: Node | null
}

export function askShare(signal: AbortSignal): Promise<Share> {
  return call<Share>("share", {}, { signal })
}

/** Exchange the password for a key. @throws ApiError where it is not the one. */
export async function unlock(password: string): Promise<string> {
  return (await call<{ key: string }>("unlock", { password })).key
}

/** Say whether there is a curve to be seen. */
export function hasCharts({ shown }: Share): boolean {
  return shown.metrics.length > 0 || shown.hardware || shown.histograms
}
