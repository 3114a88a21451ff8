/**
 * The place that is shown, and moving to another.
 *
 * Standalone the page has a history of its own. In MLflow's shell it is a frame, and the parent has
 * the history: the frame only replaces its own URL and tells the parent (`stock/frame.ts`), because
 * a frame that pushes adds entries that Back would stop at one by one.
 */

import { useSyncExternalStore } from "react"

import { PAGES, STOCK } from "./addresses"
import type { Place } from "./grammar"
import { parsePlace, pathOf, queryText, SHELL_KEY, WORKSPACE_KEY } from "./grammar"

export interface Route {
  readonly place: Place
  /** Without what belongs to the shell (`shell`, `workspace`). */
  readonly query: URLSearchParams
}

export interface GoOptions {
  /** Add an entry to the history (default) instead of replacing the present one. */
  push?: boolean
}

/** Messages between the frame and MLflow's page, both of this origin. */
export type FrameMessage =
  | { weir: "url"; path: string; query: string; title: string; push: boolean }
  | { weir: "go"; hash: string }
  | { weir: "ready" }
export type ShellMessage = { weir: "show"; path: string; query: string }

const listeners = new Set<() => void>()

/** Say whether the page is shown inside MLflow's shell. */
export function isFramed(): boolean {
  return window.parent !== window && new URLSearchParams(location.search).has(SHELL_KEY)
}

/** The workspace in the page's URL, or null. */
export function workspace(): string | null {
  return new URLSearchParams(location.search).get(WORKSPACE_KEY)
}

function readRoute(): Route {
  const query = new URLSearchParams(location.search)
  query.delete(SHELL_KEY)
  query.delete(WORKSPACE_KEY)
  return { place: parsePlace(location.pathname.slice(PAGES.pathname.length)), query }
}

let current: { href: string; route: Route } | null = null

/** The route of the present URL; the same object until the URL changes. */
export function route(): Route {
  if (current === null || current.href !== location.href) {
    current = { href: location.href, route: readRoute() }
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

function withWorkspace(query: URLSearchParams): URLSearchParams {
  const named = workspace()
  const all = new URLSearchParams(query)
  if (named !== null) all.set(WORKSPACE_KEY, named)
  return all
}

/** The URL of a place that works anywhere: in the shell where we are in it, else standalone. */
export function linkTo(place: Place, query = new URLSearchParams()): string {
  const rest = pathOf(place) + queryText(withWorkspace(query))
  return isFramed() ? `${STOCK.pathname}#/weir${rest}` : `${PAGES.pathname}${rest.slice(1)}`
}

/** The absolute URL to copy: the form inside the shell, the same everywhere. */
export function shareableLink(place: Place, query = new URLSearchParams()): string {
  return `${STOCK.href}#/weir${pathOf(place)}${queryText(withWorkspace(query))}`
}

/** The URL of one of MLflow's own pages, such as `/experiments/1`. */
export function stockLink(path: string): string {
  return `${STOCK.pathname}#${path}${queryText(withWorkspace(new URLSearchParams()))}`
}

/** Show another place, or the same one with another query. */
export function go(place: Place, query = new URLSearchParams(), options: GoOptions = {}): void {
  const push = options.push ?? true
  const own = withWorkspace(query)
  if (isFramed()) own.set(SHELL_KEY, "1")
  const url = `${PAGES.pathname}${pathOf(place).slice(1)}${queryText(own)}`
  if (url === location.pathname + location.search) return
  if (isFramed() || !push) history.replaceState(null, "", url)
  else history.pushState(null, "", url)
  changed()
  tellParent(push)
}

/** Change the query of the present place. */
export function setQuery(query: URLSearchParams, options: GoOptions = { push: false }): void {
  go(route().place, query, options)
}

/** Show one of MLflow's own pages, without a reload where we are in its shell. */
export function goStock(path: string): void {
  if (isFramed()) {
    post({ weir: "go", hash: new URL(stockLink(path), location.href).hash })
  } else {
    location.assign(stockLink(path))
  }
}

/** Set the document's title, and the parent's where we are framed. */
export function setTitle(title: string): void {
  const full = title ? `${title} · Weir` : "Weir"
  if (document.title === full) return
  document.title = full
  tellParent(false)
}

function tellParent(push: boolean): void {
  if (!isFramed()) return
  const { place, query } = route()
  const rest = queryText(withWorkspace(query))
  post({ weir: "url", path: pathOf(place), query: rest, title: document.title, push })
}

function post(message: FrameMessage): void {
  window.parent.postMessage(message, location.origin)
}

function changed(): void {
  for (const listener of [...listeners]) listener()
}

function isShellMessage(data: unknown): data is ShellMessage {
  if (typeof data !== "object" || data === null) return false
  const message = data as Record<string, unknown>
  return (
    message.weir === "show" &&
    typeof message.path === "string" &&
    typeof message.query === "string" &&
    (message.query === "" || message.query.startsWith("?"))
  )
}

/** Follow Back and Forward, the parent's too. Called once, by `main.tsx`. */
export function startRouter(): void {
  // Named relative to the place that was loaded, which is not where the page will be.
  for (const icon of document.querySelectorAll<HTMLLinkElement>("link[rel=icon]")) {
    icon.setAttribute("href", icon.href)
  }
  window.addEventListener("popstate", changed)
  window.addEventListener("message", (event) => {
    if (event.origin !== location.origin || event.source !== window.parent) return
    if (!isFramed() || !isShellMessage(event.data)) return
    const query = new URLSearchParams(event.data.query)
    query.set(SHELL_KEY, "1")
    const path = pathOf(parsePlace(event.data.path)).slice(1)
    history.replaceState(null, "", `${PAGES.pathname}${path}${queryText(query)}`)
    changed()
  })
  if (isFramed()) post({ weir: "ready" })
}
