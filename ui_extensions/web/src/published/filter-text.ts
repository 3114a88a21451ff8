/**
 * The run list's filter, read without a server: the grammar of `store/runs/filter_language.py`, whose
 * trees and faults these are. `tests/support/corpora/filters.json` holds both to the same.
 */

import { ApiError } from "../api/error"
import type { Condition, Tree } from "../runs/api"

const MAX_CHARACTERS = 8_000
const MAX_CONDITIONS = 100
const MAX_DEPTH = 20
const MAX_VALUES = 1_000

type Kind = Condition["kind"]
type Value = number | string

const KINDS: Readonly<Record<string, Kind>> = {
  metric: "metrics", metrics: "metrics",
  parameter: "params", parameters: "params", param: "params", params: "params",
  tag: "tags", tags: "tags",
  attribute: "attributes", attributes: "attributes", attr: "attributes", run: "attributes",
  dataset: "datasets", datasets: "datasets",
}
const ATTRIBUTES: Readonly<Record<string, string>> = {
  run_id: "run_id", id: "run_id",
  run_name: "run_name", "run name": "run_name", name: "run_name",
  user_id: "user_id", user: "user_id",
  status: "status",
  start_time: "start_time", created: "start_time", started: "start_time",
  end_time: "end_time", ended: "end_time",
  artifact_uri: "artifact_uri",
}
const DATASET_KEYS = ["name", "digest", "context"]
const AGGREGATES = ["latest", "min", "max"]
const UNITS = ["s", "m", "h", "d", "w"]
const RESERVED = ["and", "or", "not", "in", "is", "like", "ilike", "within"]
const SPECIAL = ["nan", "inf", "infinity"]

const ORDERINGS = ["<", "<=", ">", ">="]
const EQUALITIES = ["=", "!="]
const OF_TEXT = ["=", "!=", "like", "ilike", "~", "!~"]
const LISTS = ["in", "not in"]
const PRESENCE = ["is missing", "is not missing"]

const TOKEN =
  /(?<space>\s+)|(?<text>'[^']*(?:''[^']*)*'|"[^"]*(?:""[^"]*)*")|(?<ticked>`[^`]*`)|(?<comparator>==|!=|<>|<=|>=|!~|=|<|>|~)|(?<mark>[(),])|(?<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\p{L}\p{N}_./:@-]))|(?<word>[^\s'"`()<>=!~,]+)/uy

interface Token {
  readonly kind: string
  readonly text: string
  readonly position: number
}

/** A filter that cannot be read. @param position Where, in characters. */
function fault(message: string, { text, position }: Pick<Token, "text" | "position">): ApiError {
  return new ApiError(400, message, { position, length: Math.max(1, text.length) })
}

/** A word of a filter between quotes, as the server's messages have it. */
function inQuotes(text: string, most = 40): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const escaped = text.replace(/[\\\n\t\r]/g, (one) => JSON.stringify(one).slice(1, -1))
  return `${quote}${quote === "'" ? escaped.replaceAll("'", "\\'") : escaped}${quote}`.slice(0, most)
}

export function isTime(key: string): boolean {
  return key === "start_time" || key === "end_time"
}

/** Read a filter; null where there is nothing to filter by. @throws ApiError with the place of the fault. */
export function readFilter(text: string): Tree | null {
  if (text.length > MAX_CHARACTERS) {
    throw fault("a filter has at most 8,000 characters", { text: " ", position: MAX_CHARACTERS })
  }
  const tokens = tokensOf(text)
  if (tokens.length === 1) return null
  const reader = new Reader(tokens)
  const tree = reader.readOr(0)
  reader.expectEnd()
  return tree
}

function tokensOf(text: string): Token[] {
  const found: Token[] = []
  let at = 0
  while (at < text.length) {
    TOKEN.lastIndex = at
    const match = TOKEN.exec(text)
    if (match === null) {
      const what = /['"`]/.test(text[at] ?? "") ? "a quote that is not closed" : "not understood"
      throw fault(`${what}: ${text.slice(at, at + 30)}`, { text: text.slice(at), position: at })
    }
    const kind = Object.entries(match.groups ?? {}).find(([, one]) => one !== undefined)?.[0] ?? ""
    if (kind !== "space") found.push({ kind, text: match[0], position: at })
    at += match[0].length
  }
  return [...found, { kind: "end", text: "", position: text.length }]
}

function unquoted(text: string): string {
  const inner = text.slice(1, -1)
  return text.startsWith('"') ? inner.replaceAll('""', '"') : inner
}

function comparatorsOf(kind: Kind, key: string): readonly string[] {
  if (kind === "metrics") return [...ORDERINGS, ...EQUALITIES, ...LISTS, ...PRESENCE]
  if (kind === "attributes" && isTime(key)) return [...ORDERINGS, ...EQUALITIES, ...PRESENCE, "within last"]
  if (kind === "params" || kind === "tags") return [...ORDERINGS, ...OF_TEXT, ...LISTS, ...PRESENCE]
  if (kind === "datasets") return [...OF_TEXT.filter((one) => !one.endsWith("~")), ...LISTS]
  return [...OF_TEXT, ...LISTS, ...PRESENCE]
}

/** Reads tokens from left to right. */
class Reader {
  private at = 0
  private nConditions = 0

  constructor(private readonly tokens: readonly Token[]) {}

  private get next(): Token {
    return this.tokens[this.at] as Token
  }

  private take(): Token {
    const token = this.next
    if (token.kind !== "end") this.at += 1
    return token
  }

  private isNext(kind: string, text: string): boolean {
    const isSame = this.next.kind === kind && this.next.text.toLowerCase() === text
    if (isSame) this.at += 1
    return isSame
  }

  private found(token: Token): string {
    return token.text ? `, found ${inQuotes(token.text)}` : ""
  }

  expectEnd(): void {
    if (this.next.kind === "end") return
    throw fault(`expected \`and\`, \`or\` or the end${this.found(this.next)}`, this.next)
  }

  readOr(depth: number): Tree {
    if (depth > MAX_DEPTH) throw fault(`deeper than ${MAX_DEPTH} parentheses`, this.next)
    return this.joined("or", () => this.joined("and", () => this.readNot(depth)))
  }

  private joined(word: "and" | "or", read: () => Tree): Tree {
    const parts = [read()]
    while (this.isNext("word", word)) parts.push(read())
    return parts.length === 1 ? (parts[0] as Tree) : { joined: word, parts }
  }

  private readNot(depth: number): Tree {
    if (this.isNext("word", "not")) {
      if (depth > MAX_DEPTH) throw fault(`deeper than ${MAX_DEPTH} parentheses`, this.next)
      return { joined: "not", parts: [this.readNot(depth + 1)] }
    }
    if (!this.isNext("mark", "(")) return this.readCondition()
    const inner = this.readOr(depth + 1)
    if (!this.isNext("mark", ")")) throw fault("expected )", this.next)
    return inner
  }

  private readCondition(): Condition {
    this.nConditions += 1
    if (this.nConditions > MAX_CONDITIONS) throw fault(`more than ${MAX_CONDITIONS} conditions`, this.next)
    const field = this.readField()
    const start = this.next
    const comparator = this.readComparator()
    if (!comparatorsOf(field.kind, field.key).includes(comparator)) {
      throw fault(`${inQuotes(comparator)} cannot be asked of ${field.kind}`, start)
    }
    if (PRESENCE.includes(comparator)) return { ...field, comparator, values: [] }
    if (comparator === "within last") return { ...field, comparator, values: this.readDuration() }
    if (LISTS.includes(comparator)) return { ...field, comparator, values: this.readList(field) }
    const token = this.next
    const value = this.readValue(field)
    if (["like", "ilike", "~", "!~"].includes(comparator) && typeof value !== "string") {
      throw fault(`expected text in quotes after ${comparator}`, token)
    }
    return { ...field, comparator, values: [value] }
  }

  private readField(): Pick<Condition, "kind" | "key" | "aggregate"> {
    const token = this.take()
    const word = token.text.toLowerCase()
    if (token.kind === "word" && AGGREGATES.includes(word) && this.isNext("mark", "(")) {
      const inner = this.next
      const { kind, key } = this.readField()
      if (kind !== "metrics") throw fault(`${word}() takes a metric`, inner)
      if (!this.isNext("mark", ")")) throw fault("expected )", this.next)
      return { kind, key, aggregate: word }
    }
    if (/^[`"]/.test(token.text)) return this.fieldOf("attributes", unquoted(token.text), token)
    if (token.kind !== "word") throw fault(`expected a field such as metrics.loss${this.found(token)}`, token)
    const dot = token.text.indexOf(".")
    if (dot < 0) return this.fieldOf("attributes", token.text, token)
    const [name, rest] = [token.text.slice(0, dot), token.text.slice(dot + 1)]
    const kind = Object.hasOwn(KINDS, name.toLowerCase()) ? KINDS[name.toLowerCase()] : undefined
    if (kind === undefined) {
      throw fault(`${inQuotes(name)} is none of metrics, params, tags, attributes, datasets`, token)
    }
    if (rest) return this.fieldOf(kind, rest, token)
    const quoted = this.take()
    if (!/^[`"]/.test(quoted.text)) throw fault("expected a key after the dot", quoted)
    return this.fieldOf(kind, unquoted(quoted.text), token)
  }

  private fieldOf(kind: Kind, key: string, token: Token): Pick<Condition, "kind" | "key" | "aggregate"> {
    if (kind === "attributes") {
      const known = Object.hasOwn(ATTRIBUTES, key.toLowerCase()) ? ATTRIBUTES[key.toLowerCase()] : undefined
      if (known !== undefined) return { kind, key: known, aggregate: "" }
      throw fault(`${inQuotes(key)} is no attribute of a run: a param is written params.${key.slice(0, 40)}`, token)
    }
    if (kind === "datasets" && !DATASET_KEYS.includes(key)) throw fault("of a data set: name, digest or context", token)
    return { kind, key, aggregate: kind === "metrics" ? "latest" : "" }
  }

  private readComparator(): string {
    const token = this.take()
    if (token.kind === "comparator") return { "==": "=", "<>": "!=" }[token.text] ?? token.text
    const word = token.kind === "word" ? token.text.toLowerCase() : ""
    if (["like", "ilike", "in"].includes(word)) return word
    if (word === "not" && this.isNext("word", "in")) return "not in"
    if (word === "is") {
      const isNot = this.isNext("word", "not")
      if (!this.isNext("word", "missing") && !this.isNext("word", "null")) {
        throw fault("expected `missing` after `is`", this.next)
      }
      return isNot ? "is not missing" : "is missing"
    }
    if (word === "within") {
      if (!this.isNext("word", "last")) throw fault("expected `last` after `within`", this.next)
      return "within last"
    }
    throw fault(`expected a comparison such as = or >${this.found(token)}`, token)
  }

  private readDuration(): Value[] {
    const token = this.take()
    const match = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(token.text)
    if (match === null) throw fault("expected a number and s, m, h, d or w, such as 7 d", token)
    const unit = match[2] || this.take().text
    if (!UNITS.includes(unit.toLowerCase())) {
      throw fault(`the unit ${inQuotes(unit, 20)} is none of s, m, h, d, w`, token)
    }
    return [Number(match[1]), unit.toLowerCase()]
  }

  private readList(field: Pick<Condition, "kind" | "key">): Value[] {
    if (!this.isNext("mark", "(")) throw fault("expected ( and values after `in`", this.next)
    const values = [this.readValue(field)]
    while (this.isNext("mark", ",")) {
      values.push(this.readValue(field))
      if (values.length > MAX_VALUES) throw fault("more than 1,000 values", this.next)
    }
    if (!this.isNext("mark", ")")) throw fault("expected , or )", this.next)
    return values
  }

  private readValue({ kind, key }: Pick<Condition, "kind" | "key">): Value {
    const token = this.take()
    const isOfTime = kind === "attributes" && isTime(key)
    const needsNumber = kind === "metrics" || isOfTime
    const isSpecial = token.kind === "word" && SPECIAL.includes(token.text.toLowerCase().replace(/^[+-]+/, ""))
    if (token.kind === "number" || isSpecial) {
      return needsNumber || kind === "params" || kind === "tags" ? numberOf(token.text) : token.text
    }
    if (isOfTime && token.kind === "text") return unquoted(token.text) // a date, read by who compares
    if (needsNumber) throw fault(`expected a number, found ${inQuotes(token.text)}`, token)
    if (token.kind === "text") return unquoted(token.text)
    if (token.kind === "word" && !RESERVED.includes(token.text.toLowerCase())) return token.text
    throw fault("expected a value", token)
  }
}

function numberOf(text: string): number {
  const word = text.toLowerCase()
  if (word.endsWith("nan")) return NaN
  if (word.includes("inf")) return word.startsWith("-") ? -Infinity : Infinity
  return Number(text)
}
