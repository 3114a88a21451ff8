/** Reports, as `POST reports…` has them. */

import type { CallOptions } from "../api/client"
import { ApiError, call } from "../api/client"
import type { Node } from "./document"

export interface Report {
  readonly id: string
  readonly title: string
  readonly experiment_ids: readonly string[]
  readonly created_ms: number
  readonly created_by: string | null
  /** Grows with every save. */
  readonly draft: number
  readonly saved_ms: number
  readonly saved_by: string | null
  /** What was published last; 0 for nothing yet. */
  readonly revision: number
  /** The draft has changed since. */
  readonly is_changed: boolean
  readonly may_edit: boolean
  readonly may_delete: boolean
}

export interface Revision {
  readonly revision: number
  readonly title: string
  readonly author: string | null
  readonly at_ms: number
}

export interface ReadReport {
  readonly report: Report
  readonly title: string
  readonly document: Node
  /** 0 is the draft. */
  readonly revision: number
  readonly author: string | null
  readonly at_ms: number
  readonly revisions: readonly Revision[]
}

export interface Comment {
  readonly id: string
  readonly author: string | null
  readonly at_ms: number
  readonly quote: string
  /** The panel it is on, by its id. */
  readonly panel: string | null
  readonly text: string
  readonly resolved_ms: number | null
  readonly resolved_by: string | null
  readonly may_resolve: boolean
  readonly may_delete: boolean
}

/** The draft as somebody else saved it. */
export interface Conflict {
  readonly report: Report
  readonly title: string
  readonly document: Node
}

export function listReports(
  experimentId: string | null,
  options: CallOptions = {},
): Promise<{ reports: readonly Report[]; may_create: boolean }> {
  return call("reports/list", { experiment_id: experimentId }, options)
}

export function readReport(
  id: string,
  what: { revision?: number; draft?: boolean } = {},
  options: CallOptions = {},
): Promise<ReadReport> {
  return call("reports/read", { id, ...what }, options)
}

export async function createReport(
  experimentIds: readonly string[],
  title: string,
  document: Node | null,
): Promise<Report> {
  const body = { experiment_ids: experimentIds, title, document }
  return (await call<{ report: Report }>("reports/create", body)).report
}

async function change(id: string, action: string, more: object): Promise<Report> {
  return (await call<{ report: Report }>("reports/change", { id, action, ...more })).report
}

export function saveDraft(id: string, draft: number, title: string, document: Node): Promise<Report> {
  return change(id, "save", { draft, title, document })
}

export function appendTo(id: string, content: readonly Node[]): Promise<Report> {
  return change(id, "append", { content })
}

export function publish(id: string, draft: number): Promise<Report> {
  return change(id, "publish", { draft })
}

export function restore(id: string, revision: number, draft: number): Promise<Report> {
  return change(id, "restore", { revision, draft })
}

export function clone(id: string, title: string): Promise<Report> {
  return change(id, "clone", { title })
}

export function deleteReport(id: string): Promise<Report> {
  return change(id, "delete", {})
}

/** Keep a picture with a report. @returns its id. */
export async function addPicture(id: string, file: Blob): Promise<string> {
  const bytes = new Uint8Array(await file.arrayBuffer())
  let text = ""
  for (let at = 0; at < bytes.length; at += 8_192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8_192))
  }
  const body = { id, action: "picture", body: btoa(text) }
  return (await call<{ image: string }>("reports/change", body)).image
}

export interface CommentAction {
  readonly action: "add" | "resolve" | "reopen" | "delete"
  readonly comment?: string
  readonly text?: string
  readonly quote?: string
  readonly panel?: string
}

export async function comments(
  id: string,
  action: CommentAction | null,
  options: CallOptions = {},
): Promise<readonly Comment[]> {
  const found = await call<{ comments: readonly Comment[] }>("reports/comments", { id, ...action }, options)
  return found.comments
}

/** What somebody else saved, where that is why it was refused; else null. */
export function conflictOf(error: unknown): Conflict | null {
  if (!(error instanceof ApiError) || error.status !== 409) return null
  const { report, title, document } = error.details
  if (typeof report !== "object" || typeof document !== "object" || report === null) return null
  return { report: report as Report, title: String(title), document: document as Node }
}
