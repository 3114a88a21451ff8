/** Saved views, as `POST views` and its neighbours have them. */

import type { CallOptions } from "../api/client"
import { askAhead, call } from "../api/client"

export interface SavedView {
  readonly id: string
  readonly kind: "personal" | "named" | "state"
  readonly experiments: readonly string[]
  readonly name: string
  readonly revision: number
  readonly author: string
  readonly at: number
  readonly document: string
}

export interface ViewName {
  readonly id: string
  readonly name: string
  readonly revision: number
  readonly at: number
}

export interface Views {
  readonly personal: SavedView | null
  readonly named: readonly ViewName[]
  readonly may_edit: boolean
  /** Who asks; null where the server knows nobody. */
  readonly user: string | null
}

const BROWSER_KEY = "weir.browser"

/** An id of this browser, which tells personal views apart where the server has no login. */
export function browserId(): string {
  try {
    const kept = localStorage.getItem(BROWSER_KEY)
    if (kept !== null && /^[0-9a-f]{32}$/.test(kept)) return kept
    const bytes = crypto.getRandomValues(new Uint8Array(16))
    const made = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")
    localStorage.setItem(BROWSER_KEY, made)
    return made
  } catch {
    return "0".repeat(32)
  }
}

export function listViews(experiments: readonly string[], options: CallOptions): Promise<Views> {
  return call<Views>("views", { experiments, browser: browserId() }, options)
}

/** Have `listViews` answered sooner. */
export function askViewsAhead(experiments: readonly string[]): void {
  askAhead("views", { experiments, browser: browserId() })
}

export function readView(
  id: string,
  revision: number | null,
  options: CallOptions,
): Promise<SavedView> {
  return call<SavedView>("views/read", { id, revision }, options)
}

export function savePersonal(
  experiments: readonly string[],
  document: string,
  revision: number,
): Promise<{ revision: number }> {
  const browser = browserId()
  return call("views/personal", { experiments, document, revision, browser })
}

export function saveNamed(
  experiments: readonly string[],
  name: string,
  document: string,
  base: { id: string; revision: number } | null,
): Promise<{ id: string; revision: number }> {
  return call("views/save", {
    experiments,
    name,
    document,
    id: base?.id ?? null,
    revision: base?.revision ?? 0,
  })
}

export function deleteView(id: string): Promise<unknown> {
  return call("views/delete", { id })
}

export function keepState(
  experiments: readonly string[],
  document: string,
): Promise<{ id: string }> {
  return call("views/state", { experiments, document })
}
