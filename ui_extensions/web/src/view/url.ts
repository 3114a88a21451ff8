/**
 * The part of a view that its URL holds. Defaults are left out, keys are short and in one order, so
 * that equal views have equal URLs.
 */

import type { Band, Centre, EyeRule, Patch, ViewDocument } from "./document"
import { readSettings, SETTINGS_KEYS, writeSettings } from "../charts/settings-url"
import { DEFAULT_VIEW, runIds } from "./document"

/** Which view a URL names, beside what it holds. */
export interface Named {
  /** A named view and its revision, or null. */
  readonly view: { readonly id: string; readonly revision: number } | null
  /** What a link stands for, or null. */
  readonly state: string | null
}

const ID = /^[0-9a-f]{32}$/
const CENTRES: readonly Centre[] = ["mean", "median", "min", "max"]
const BANDS: readonly Band[] = ["minmax", "sd", "se", "p10p90", "none"]
/** Keys of ours, in the order in which a URL has them; others are left as they are. */
const KEYS: readonly string[] = [
  ...["v", "st", "f", "q", "re", "o", "g", "ga", "gb", "cb", "eye", "pin", "base", "tab", "c"],
  ...SETTINGS_KEYS,
]
const MAX_URL_IDS = 40

export function readNamed(query: URLSearchParams): Named {
  const [id = "", revision = ""] = (query.get("v") ?? "").split("@")
  const state = query.get("st") ?? ""
  const number = Number(revision)
  return {
    view: ID.test(id) && Number.isInteger(number) && number > 0 ? { id, revision: number } : null,
    state: ID.test(state) ? state : null,
  }
}

export function writeEye(rule: EyeRule): string {
  const base = rule.base === "top" ? `top:${rule.n}` : rule.base
  const but = [...rule.shown.map((id) => `+${id}`), ...rule.hidden.map((id) => `-${id}`)]
  return [base, ...but].join(",")
}

export function readEye(text: string): EyeRule | null {
  const [first = "", ...rest] = text.split(",")
  const [base = "", n = "0"] = first.split(":")
  if (base !== "all" && base !== "none" && base !== "running" && base !== "top") return null
  // A plus that was not escaped arrives as a space.
  const of = (sign: RegExp): string[] =>
    runIds(rest.filter((one) => sign.test(one)).map((one) => one.slice(1)))
  return {
    base,
    n: Math.min(1_000, Math.max(0, Math.round(Number(n)) || 0)),
    shown: of(/^[+ ]/),
    hidden: of(/^-/),
  }
}

/**
 * Return what the URL says of the view.
 *
 * @param over What it is said over: the charts' settings are one field with many keys.
 */
export function readQuery(query: URLSearchParams, over: ViewDocument = DEFAULT_VIEW): Patch {
  const list = (key: string): string[] => (query.get(key) ?? "").split(",").filter(Boolean)
  const centre = CENTRES.find((one) => one === query.get("ga"))
  const band = BANDS.find((one) => one === query.get("gb"))
  const eye = readEye(query.get("eye") ?? "")
  const [baseline] = runIds([query.get("base") ?? ""])
  const settings = readSettings(query, over.settings)
  return {
    ...(query.has("f") ? { filter: query.get("f") ?? "" } : {}),
    ...(query.has("q") ? { search: query.get("q") ?? "" } : {}),
    ...(query.has("re") ? { isRegex: query.get("re") === "1" } : {}),
    ...(query.has("o") ? { order: readTerms(query.get("o") ?? "").slice(0, 5) } : {}),
    ...(query.has("g") ? { groupBy: readTerms(query.get("g") ?? "").slice(0, 4) } : {}),
    ...(centre ? { centre } : {}),
    ...(band ? { band } : {}),
    ...(query.has("cb") ? { colourBy: query.get("cb") ?? "" } : {}),
    ...(eye ? { eye } : {}),
    ...(query.has("pin") ? { pins: runIds(list("pin")) } : {}),
    ...(baseline ? { baseline } : {}),
    ...(query.has("c") ? { chartSearch: query.get("c") ?? "" } : {}),
    ...(settings === null ? {} : { settings }),
  }
}

/** Terms are joined by commas; one within a term has a backslash in front, as a backslash has. */
export function writeTerms(terms: readonly string[]): string {
  return terms.map((term) => term.replace(/[\\,]/g, "\\$&")).join(",")
}

export function readTerms(text: string): string[] {
  const found = text.match(/(?:\\.|[^\\,])+/g) ?? []
  return found.map((term) => term.replace(/\\(.)/g, "$1"))
}

/**
 * Return the query of a view, keeping keys that are not ours.
 *
 * @param base What the named view or link holds: only what differs from it is said.
 */
export function writeQuery(
  document: ViewDocument,
  base: ViewDocument,
  named: Named,
  before: URLSearchParams,
): URLSearchParams {
  const query = new URLSearchParams()
  const said = (key: string, value: string, isBase: boolean): void => {
    if (!isBase) query.set(key, value)
  }
  const differs = <K extends keyof ViewDocument>(key: K): boolean =>
    JSON.stringify(document[key]) !== JSON.stringify(base[key])
  if (named.view) query.set("v", `${named.view.id}@${named.view.revision}`)
  if (named.state) query.set("st", named.state)
  said("f", document.filter, !differs("filter"))
  said("q", document.search, !differs("search"))
  said("re", document.isRegex ? "1" : "0", !differs("isRegex"))
  said("o", writeTerms(document.order), !differs("order"))
  said("g", writeTerms(document.groupBy), !differs("groupBy"))
  said("ga", document.centre, !differs("centre"))
  said("gb", document.band, !differs("band"))
  said("cb", document.colourBy, !differs("colourBy"))
  // A thousand exceptions belong into a link's state, not into a URL.
  const nIds = document.eye.shown.length + document.eye.hidden.length
  said("eye", writeEye(document.eye), !differs("eye") || nIds > MAX_URL_IDS)
  said("pin", document.pins.join(","), !differs("pins"))
  said("base", document.baseline ?? "", !differs("baseline"))
  said("c", document.chartSearch, !differs("chartSearch"))
  for (const [key, value] of writeSettings(document.settings, base.settings)) query.set(key, value)
  for (const [key, value] of before) if (!KEYS.includes(key)) query.append(key, value)
  return query
}

/** What an unnamed view's URL is relative to. */
export const URL_BASE = DEFAULT_VIEW
