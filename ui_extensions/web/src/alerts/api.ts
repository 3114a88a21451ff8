/** Alerts, as `POST alerts`, `alerts/rules`, `alerts/targets` and `alerts/log` have them. */

export type Level = "info" | "warning" | "error"
export type RuleKind = "alert" | "finished" | "failed" | "crashed" | "metric" | "nan" | "silence"

export interface Alert {
  readonly id: string
  readonly run_id: string
  readonly level: Level
  readonly title: string
  readonly text: string
  readonly at_ms: number
  readonly rule_id: string | null
}

export interface Rule {
  readonly id: string
  /** Null for all experiments. */
  readonly experiment_id: string | null
  readonly kind: RuleKind
  /** What it looks for, in words. */
  readonly what: string
  readonly level: Level
  /** Ids. */
  readonly targets: readonly string[]
  readonly is_paused: boolean
  readonly created_ms: number
  readonly created_by: string | null
}

export interface Rules {
  readonly rules: readonly Rule[]
  readonly may_edit: boolean
}

export interface Target {
  readonly id: string
  readonly name: string
  readonly kind: "webhook" | "slack" | "email"
  /** Where it is, with nothing by which somebody could write there. */
  readonly place: string
  /** Whether what a webhook gets is signed; those of before Weir signed have no key. */
  readonly is_signed: boolean
  readonly is_paused: boolean
  readonly created_ms: number
  readonly created_by: string | null
}

export interface Targets {
  readonly targets: readonly Target[]
  readonly may_edit: boolean
  readonly has_mail: boolean
}

export interface Delivery {
  readonly delivery_id: string
  readonly run_id: string
  readonly target: string
  readonly state: string
  readonly n_tries: number
  readonly tried_ms: number | null
  /** When it is tried next. */
  readonly due_ms: number | null
  /** What became of the last try. */
  readonly told: string
  readonly title: string
}

export const LEVEL_BADGES: Readonly<Record<Level, string>> = { info: "", warning: " w-badge-warn", error: " w-badge-bad" }
