/** A link that is being thought about: everything closed until it is ticked. */

import { NAME_LENGTH } from "../text/visible"
import type { ViewDocument } from "../view/document"
import type { Meant, NewShare, Part, ShareKind, Shown } from "./api"
import { PARTS } from "./api"
import { cutView } from "./cut-view"

/** What can be shared from where the dialog was opened. */
export interface Scope {
  readonly kind: ShareKind
  /** `this view`, `3 selected runs`. */
  readonly label: string
  /** What the link is called where nobody says otherwise. */
  readonly title: string
  readonly meant: Meant
  readonly view: ViewDocument | null
}

export interface Draft {
  readonly title: string
  readonly isLive: boolean
  readonly shown: Shown
  readonly replacesNames: boolean
  /** Null for never. */
  readonly days: number | null
  /** Null for none. */
  readonly password: string | null
}

export const DAYS = [1, 7, 30, 90, 365] as const
const DAY_MS = 86_400_000

const CLOSED = Object.fromEntries(PARTS.map((part) => [part, false])) as Record<Part, boolean>
export const NOTHING_SHOWN: Shown = { metrics: [], params: [], tags: [], ...CLOSED }

/** @param maxDays The longest that the server lets a link live, or null. */
export function newDraft(maxDays: number | null): Draft {
  return {
    title: "",
    isLive: false,
    shown: NOTHING_SHOWN,
    replacesNames: false,
    days: maxDays === null ? 30 : Math.min(30, maxDays),
    password: null,
  }
}

/** Expiries that may be chosen; null is never. */
export function daysOffered(maxDays: number | null): (number | null)[] {
  if (maxDays === null) return [...DAYS, null]
  const shorter = DAYS.filter((days) => days < maxDays)
  return [...shorter, maxDays]
}

/** Say whether runs that come later would be in it. */
export function isOpenScope(scope: Scope): boolean {
  return scope.meant.run_ids === null && scope.kind !== "report"
}

/** What a link is called where nobody says otherwise: never by a name that is replaced. */
export function usualTitle(scope: Scope, draft: Draft): string {
  return scope.kind === "run" && draft.replacesNames ? "A run" : scope.title.slice(0, NAME_LENGTH)
}

/** What the server is asked to make of it. */
export function shareOf(scope: Scope, draft: Draft, isPreview: boolean, nowMs: number): NewShare {
  const { days, shown } = draft
  return {
    ...scope.meant,
    kind: scope.kind,
    title: draft.title.trim() || usualTitle(scope, draft),
    view: scope.view === null ? null : cutView(scope.view, shown),
    is_live: draft.isLive,
    shown,
    replaces_names: draft.replacesNames,
    expires_ms: isPreview ? null : days === null ? "never" : nowMs + days * DAY_MS,
    password: isPreview ? null : draft.password,
    is_preview: isPreview,
  }
}
