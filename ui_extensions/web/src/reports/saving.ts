/**
 * The draft, saved while it is written: two seconds after the last key, at once when it is left. What
 * could not be saved is kept in this browser until it can. A save against a draft that somebody has
 * changed since is a conflict, which a person settles.
 */

import { ApiError } from "../api/client"
import type { Conflict, Report } from "./api"
import { conflictOf, saveDraft } from "./api"
import type { Node } from "./document"

export type Saving =
  | { readonly kind: "saved"; readonly atMs: number }
  | { readonly kind: "changed" }
  | { readonly kind: "saving" }
  /** The server is away, or takes nothing now. */
  | { readonly kind: "kept"; readonly why: string }
  /** The server will not take it as it is. */
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "conflict"; readonly theirs: Conflict }

export interface Content {
  readonly title: string
  readonly document: Node
}

interface Kept extends Content {
  readonly draft: number
}

const REST_MS = 2_000
const RETRY_MS = 8_000

function keyOf(id: string): string {
  return `weir.report.${id}`
}

/** What this browser kept of a report that could not be saved; null where there is nothing. */
export function readKept(id: string): Kept | null {
  try {
    const kept = JSON.parse(localStorage.getItem(keyOf(id)) ?? "null") as Kept | null
    const isOne = typeof kept?.draft === "number" && typeof kept.title === "string" && kept.document?.type === "doc"
    return isOne ? kept : null
  } catch {
    return null
  }
}

function keep(id: string, kept: Kept): void {
  try {
    localStorage.setItem(keyOf(id), JSON.stringify(kept))
  } catch {
    // Full or closed: it stays in the page alone.
  }
}

export function forgetKept(id: string): void {
  try {
    localStorage.removeItem(keyOf(id))
  } catch {
    // There is nothing then.
  }
}

/** Saves one report's draft; the editor tells it of every change. */
export class Saver {
  #report: Report
  #content: () => Content
  #tell: (state: Saving, report: Report) => void
  #timer: ReturnType<typeof setTimeout> | undefined
  #isDirty = false
  #running: Promise<void> | null = null
  #isStopped = false

  constructor(report: Report, content: () => Content, tell: (state: Saving, report: Report) => void) {
    this.#report = report
    this.#content = content
    this.#tell = tell
  }

  get report(): Report {
    return this.#report
  }

  /** There is something that no server has. */
  get isDirty(): boolean {
    return this.#isDirty
  }

  changed(): void {
    if (this.#isStopped) return
    this.#isDirty = true
    this.#tell({ kind: "changed" }, this.#report)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.flush(), REST_MS)
  }

  /** The draft is another one now, such as what somebody else saved, or a version restored. */
  follow(report: Report): void {
    this.#report = report
    this.#isDirty = false
    this.#isStopped = false
    clearTimeout(this.#timer)
    forgetKept(report.id)
    this.#tell({ kind: "saved", atMs: report.saved_ms }, report)
  }

  /** Save over what somebody else has saved. */
  async over(theirs: Report): Promise<void> {
    this.#report = theirs
    this.#isStopped = false
    this.#isDirty = true
    await this.flush()
  }

  /** Save now what is not saved yet. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    if (this.#running !== null) await this.#running
    if (!this.#isDirty || this.#isStopped) return
    this.#running = this.#save()
    await this.#running
    this.#running = null
  }

  /** Keep in this browser what is not saved: the page goes away. */
  leave(): void {
    if (this.#isDirty) keep(this.#report.id, { ...this.#content(), draft: this.#report.draft })
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.leave()
  }

  async #save(): Promise<void> {
    const content = this.#content()
    this.#isDirty = false
    this.#tell({ kind: "saving" }, this.#report)
    try {
      const { id, draft } = this.#report
      this.#report = await saveDraft(id, draft, content.title.trim() || "Untitled", content.document)
      if (!this.#isDirty) forgetKept(id)
      this.#tell(this.#isDirty ? { kind: "changed" } : { kind: "saved", atMs: Date.now() }, this.#report)
    } catch (error) {
      this.#isDirty = true
      this.leave()
      const theirs = conflictOf(error)
      const why = error instanceof Error ? error.message : String(error)
      if (theirs !== null) {
        this.#isStopped = true
        this.#tell({ kind: "conflict", theirs }, this.#report)
      } else if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) {
        this.#tell({ kind: "refused", why }, this.#report)
      } else {
        this.#tell({ kind: "kept", why }, this.#report)
        this.#timer = setTimeout(() => void this.flush(), RETRY_MS)
      }
    }
  }
}
