/** Who may see what, as `POST visibility`, `people`, `invites`, `accounts` and `audit` have it. */

import type { CallOptions } from "../api/client"
import { call } from "../api/client"
import type { Policy, Shown } from "../share/api"

export type Level = "private" | "team" | "public"
export type Permission = "READ" | "USE" | "EDIT" | "MANAGE" | "NO_PERMISSIONS"
export type Source = "administrator" | "own" | "role" | "workspace" | "default" | "private"

export interface Visibility {
  readonly id: string
  readonly level: Level
  readonly may_change: boolean
  readonly changed_ms: number | null
  readonly changed_by: string | null
  /** Address of a public experiment, from the server's root. */
  readonly path?: string
  readonly title?: string
  readonly shown?: Shown
  readonly replaces_names?: boolean
}

export interface Seen {
  readonly has_login: boolean
  readonly policy: Policy
  readonly why_not_private: string | null
  readonly experiments: readonly Visibility[]
}

export interface Person {
  readonly name: string
  readonly permission: Permission
  readonly source: Source
  readonly role: string | null
  readonly own: Permission | null
  readonly is_owner: boolean
  readonly is_admin: boolean
  readonly is_service: boolean
  readonly is_you: boolean
}

export interface People {
  readonly level: Level
  readonly default_permission: Permission
  readonly total: number
  readonly people: readonly Person[]
}

export interface Invite {
  readonly id: string
  readonly experiment_id: string | null
  readonly permission: Permission | null
  readonly note: string
  readonly created_ms: number
  readonly created_by: string
  readonly expires_ms: number
  readonly state: "open" | "used" | "expired" | "revoked"
  readonly used_by: string | null
}

export interface Account {
  readonly name: string
  readonly note: string
  readonly created_ms: number
  readonly created_by: string
  readonly rotated_ms: number
  readonly disabled_ms: number | null
  readonly experiments: readonly { id: string; permission: Permission }[]
  readonly is_there: boolean
}

export interface Entry {
  readonly id: number
  readonly at_ms: number
  readonly who: string
  readonly address: string
  readonly action: string
  readonly experiment_id: string | null
  readonly target: string
  readonly detail: Readonly<Record<string, unknown>>
}

export interface NewLevel {
  readonly experiment_id: string
  readonly level: Level
  readonly title?: string
  readonly shown?: Shown
  readonly replaces_names?: boolean
}

export function readVisibility(ids: readonly string[], options: CallOptions): Promise<Seen> {
  return call<Seen>("visibility", { experiment_ids: ids }, options)
}

export function changeVisibility(change: NewLevel): Promise<{ experiment: Visibility }> {
  return call("visibility/change", change)
}
