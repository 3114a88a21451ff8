/**
 * The place that a shared link's page shows, in place of `router.ts`: all of it is in the fragment,
 * which no server is ever told. There are two kinds of places: the list, and a run.
 */

import { useSyncExternalStore } from "react"

import type { Place } from "../grammar"
import { parsePlace, pathOf, queryText } from "../grammar"

export interface Route {
  readonly place: Place
  readonly query: URLSearchParams
}

export interface GoOptions {
  /** Add an entry to the history (default) instead of replacing the present one. */
  push?: boolean
}

const HOME: Place = { page: "home" }
const listeners = new Set<() => void>()

/** Never in MLflow's shell. */
export function isFramed(): boolean {
  return false
}

/** A visitor knows of no workspace of MLflow's. */
export function workspace(): null {
  return null
}

function readRoute(): Route {
  const text = location.hash.replace(/^#/, "")
  const at = text.indexOf("?")
  const place = parsePlace(at < 0 ? text : text.slice(0, at))
  return {
    place: place.page === "run" ? place : HOME,
    query: new URLSearchParams(at < 0 ? "" : text.slice(at + 1)),
  }
}

let current: { hash: string; route: Route } | null = null

/** The route of the present fragment; the same object until it changes. */
export function route(): Route {
  if (current === null || current.hash !== location.hash) {
    current = { hash: location.hash, route: readRoute() }
  }
  return current.route
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** The place that is shown; renders again when it changes. */
export function useRoute(): Route {
  return useSyncExternalStore(subscribe, route)
}

/** The fragment of a place; every place that is no run is the list. */
export function linkTo(place: Place, query = new URLSearchParams()): string {
  return `#${pathOf(place.page === "run" ? place : HOME)}${queryText(query)}`
}

/** Show another place, or the same one with another query. */
export function go(place: Place, query = new URLSearchParams(), options: GoOptions = {}): void {
  const hash = linkTo(place, query)
  if (hash === location.hash || (hash === "#/" && location.hash === "")) return
  const url = `${location.pathname}${location.search}${hash}`
  if (options.push ?? true) history.pushState(null, "", url)
  else history.replaceState(null, "", url)
  changed()
}

/** Change the query of the present place. */
export function setQuery(query: URLSearchParams, options: GoOptions = { push: false }): void {
  go(route().place, query, options)
}

/** Set the document's title. */
export function setTitle(title: string): void {
  document.title = title || "Shared with Weir"
}

function changed(): void {
  for (const listener of [...listeners]) listener()
}

/** Follow Back and Forward, and a fragment that somebody typed. Called once, by `main.tsx`. */
export function startRouter(): void {
  window.addEventListener("popstate", changed)
  window.addEventListener("hashchange", changed)
}
