/** The filter's tree as the builder changes it, and its text as the server reads it. */

import type { Condition, Group, Tree } from "./api"

export function isGroup(tree: Tree): tree is Group {
  return "joined" in tree
}

const PLAIN_KEY = /^[A-Za-z_][\w./:@-]*$/

function fieldText({ kind, key, aggregate }: Condition): string {
  if (kind === "attributes") return key
  const quoted = PLAIN_KEY.test(key) ? key : key.includes("`") ? doubleQuoted(key) : `\`${key}\``
  const field = `${kind}.${quoted}`
  return aggregate === "min" || aggregate === "max" ? `${aggregate}(${field})` : field
}

/** Between double quotes, where two of them stand for one. */
function doubleQuoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`
}

function valueText(value: number | string): string {
  if (typeof value === "number") return String(value)
  return value.includes("'") ? doubleQuoted(value) : `'${value}'`
}

export function conditionText(condition: Condition): string {
  const { comparator, values } = condition
  const field = fieldText(condition)
  if (comparator === "in" || comparator === "not in") {
    return `${field} ${comparator} (${values.map(valueText).join(", ")})`
  }
  if (comparator.startsWith("is ")) return `${field} ${comparator}`
  if (comparator === "within last") return `${field} within last ${values[0] ?? 7} ${values[1] ?? "d"}`
  return `${field} ${comparator} ${valueText(values[0] ?? "")}`
}

/** Write a tree; a group without parts says nothing. */
export function treeText(tree: Tree | null): string {
  if (tree === null) return ""
  if (!isGroup(tree)) return conditionText(tree)
  const parts = tree.parts.filter((part) => !isGroup(part) || part.parts.length > 0)
  const [first] = parts
  if (first === undefined) return ""
  if (tree.joined === "not") return `not (${treeText(first)})`
  if (parts.length === 1) return treeText(first)
  return parts
    .map((part) => (isGroup(part) ? `(${treeText(part)})` : conditionText(part)))
    .join(` ${tree.joined} `)
}

/** The tree with a group at its top, as the builder shows it. */
export function topGroup(tree: Tree | null): Group {
  if (tree === null) return { joined: "and", parts: [] }
  return isGroup(tree) && tree.joined !== "not" ? tree : { joined: "and", parts: [tree] }
}

export function countConditions(tree: Tree | null): number {
  if (tree === null) return 0
  if (!isGroup(tree)) return 1
  return tree.parts.reduce((n, part) => n + countConditions(part), 0)
}

const MADE_BY = "mlflow.user"

function isMadeBy(tree: Tree): tree is Condition {
  return !isGroup(tree) && tree.kind === "tags" && tree.key === MADE_BY && tree.comparator === "="
}

/** The one user whose runs a filter leaves, where it says so in a condition of its own; else null. */
export function madeBy(tree: Tree | null): string | null {
  const found = topGroup(tree)
  const condition = found.joined === "and" ? found.parts.find(isMadeBy) : undefined
  return condition === undefined ? null : String(condition.values[0] ?? "")
}

/** The same filter for the runs of one user, or, with null, of everybody. */
export function withMadeBy(tree: Tree | null, user: string | null): Tree | null {
  const top = topGroup(tree)
  const parts = top.joined === "and" ? top.parts.filter((part) => !isMadeBy(part)) : [top]
  const condition: Condition = { kind: "tags", key: MADE_BY, aggregate: "", comparator: "=", values: [user ?? ""] }
  const next = user === null ? parts : [...parts, condition]
  return next.length === 0 ? null : { joined: "and", parts: next }
}

/** Who made the runs whose tags are known. */
export function makers(tags: readonly { key: string; values: readonly string[] }[]): readonly string[] {
  return tags.find((one) => one.key === MADE_BY)?.values ?? []
}

export const COMPARATORS: Record<Condition["kind"] | "times", readonly string[]> = {
  metrics: ["<", "<=", ">", ">=", "=", "!=", "is missing", "is not missing"],
  params: [
    "=", "!=", "<", "<=", ">", ">=", "in", "not in", "like", "ilike", "~", "!~",
    "is missing", "is not missing",
  ],
  tags: [
    "=", "!=", "<", "<=", ">", ">=", "in", "not in", "like", "ilike", "~", "!~",
    "is missing", "is not missing",
  ],
  attributes: ["=", "!=", "in", "not in", "like", "ilike", "~", "!~", "is missing"],
  datasets: ["=", "!=", "like", "ilike", "in", "not in"],
  times: ["within last", ">", ">=", "<", "<=", "is missing", "is not missing"],
}

export function comparatorsOf(condition: Pick<Condition, "kind" | "key">): readonly string[] {
  const isTime = condition.key === "start_time" || condition.key === "end_time"
  return COMPARATORS[condition.kind === "attributes" && isTime ? "times" : condition.kind]
}

/** Change the field or comparator of a condition, keeping values that still fit. */
export function changed(condition: Condition, change: Partial<Condition>): Condition {
  const next = { ...condition, ...change }
  const allowed = comparatorsOf(next)
  const comparator = allowed.includes(next.comparator) ? next.comparator : (allowed[0] ?? "=")
  return { ...next, comparator, values: fitting(next, comparator) }
}

function fitting(condition: Condition, comparator: string): readonly (number | string)[] {
  const { values, kind } = condition
  if (comparator.startsWith("is ")) return []
  if (comparator === "within last") {
    const [n, unit] = values
    return [typeof n === "number" ? n : 7, typeof unit === "string" && /^[smhdw]$/.test(unit) ? unit : "d"]
  }
  if (kind === "metrics") return [typeof values[0] === "number" ? values[0] : 0]
  if (comparator === "in" || comparator === "not in") return values.length ? values : [""]
  return [values[0] ?? ""]
}

/** Read what somebody typed as a value: a number where it is one and may be. */
export function typedValue(text: string, kind: Condition["kind"], comparator: string): number | string {
  const isText = comparator === "like" || comparator === "ilike" || comparator.endsWith("~")
  const isNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim())
  if (isNumber && !isText && kind !== "attributes" && kind !== "datasets") return Number(text)
  return text
}

export const NEW_CONDITION: Condition = {
  kind: "attributes",
  key: "status",
  aggregate: "",
  comparator: "in",
  values: ["RUNNING", "FINISHED"],
}
