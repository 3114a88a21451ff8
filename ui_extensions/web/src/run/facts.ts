/** What `POST run` says of a run. */

export type MetricNumber = number | "NaN" | "Infinity" | "-Infinity" | null

export interface RunMetric {
  key: string
  last: MetricNumber
  step: number
  at_ms: number
  min: MetricNumber
  max: MetricNumber
}

export interface RunAlert {
  id: string
  level: "info" | "warning" | "error"
  title: string
  text: string
  at_ms: number
  rule_id: string | null
}

export interface RunFacts {
  id: string
  name: string
  experiment_id: string
  experiment_name: string
  status: string
  stage: string
  user: string
  start_ms: number | null
  end_ms: number | null
  tags: Record<string, string>
  params: [string, string][]
  metrics: RunMetric[]
  n_metrics: number
  n_params: number
  may_edit: boolean
  now_ms: number
  /** Not where a link shows the run. */
  alerts?: RunAlert[]
}

/** A number as JavaScript has it. */
export function metricNumber(value: MetricNumber): number | null {
  if (value === "NaN") return Number.NaN
  if (value === "Infinity") return Number.POSITIVE_INFINITY
  if (value === "-Infinity") return Number.NEGATIVE_INFINITY
  return value
}

/** One of a run's tags; safe for keys such as `__proto__`. */
export function tag(run: RunFacts, key: string): string | null {
  return Object.hasOwn(run.tags, key) ? (run.tags[key] ?? null) : null
}

/** The tag that holds MLflow's own description. */
export const NOTE = "mlflow.note.content"
/** Tags that are MLflow's or ours, which nobody edits by hand. */
export const HIDDEN_TAGS = /^(mlflow|weir)\./

/** The tags that somebody set. */
export function ownTags(run: RunFacts): [string, string][] {
  return Object.entries(run.tags).filter(([key]) => !HIDDEN_TAGS.test(key))
}

/** Say whether more may come of it. */
export function isLive(run: RunFacts): boolean {
  return run.status === "RUNNING" || run.status === "SCHEDULED"
}
