/** Where in MLflow's page we are, read from the hash that its router uses. */

import { parsePlace } from "../grammar"

/** Our pages' places in the hash. */
export const SHELL_PREFIX = "/weir"

export interface StockPlace {
  /** Path and query of ours, where one of our pages is shown in the shell. */
  weir: { path: string; query: string } | null
  experimentId: string | null
  runId: string | null
  /** In MLflow's own part of the query. */
  workspace: string | null
}

const EXPERIMENT = /^\/experiments\/([0-9]{1,24})(?:\/|$)/
const RUN = /^\/(?:experiments\/[0-9]{1,24}\/)?runs\/([0-9a-f]{32})(?:\/|$)/

/** Read a hash such as `#/experiments/1/runs/…?workspace=a`. */
export function readHash(hash: string): StockPlace {
  const [path = "", query = ""] = splitOnce(hash.replace(/^#/, ""), "?")
  const workspace = new URLSearchParams(query).get("workspace")
  if (path === SHELL_PREFIX || path.startsWith(`${SHELL_PREFIX}/`)) {
    const ours = path.slice(SHELL_PREFIX.length) || "/"
    const place = parsePlace(ours)
    const ids = "experimentIds" in place ? place.experimentIds : []
    return {
      weir: { path: ours, query: query ? `?${query}` : "" },
      experimentId: ids[0] ?? null,
      runId: place.page === "run" ? place.runId : null,
      workspace,
    }
  }
  return {
    weir: null,
    experimentId: EXPERIMENT.exec(path)?.[1] ?? null,
    runId: RUN.exec(path)?.[1] ?? null,
    workspace,
  }
}

/** Write the hash of one of our pages. @param query Its own part, such as `share=1`; MLflow's is added. */
export function shellHash(path: string, workspace: string | null, query = ""): string {
  const named = workspace === null ? "" : `workspace=${encodeURIComponent(workspace)}`
  const all = [query, named].filter(Boolean).join("&")
  return `#${SHELL_PREFIX}${path}${all ? `?${all}` : ""}`
}

function splitOnce(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark)
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)]
}

/**
 * Call back whenever the place may have changed. MLflow's router changes the history without an
 * event, so its two calls are wrapped; whatever they do, they do as before.
 */
export function onPlaceChange(changed: () => void): void {
  for (const name of ["pushState", "replaceState"] as const) {
    const stock = history[name]
    history[name] = function (this: History, ...args: Parameters<History["pushState"]>) {
      stock.apply(this, args)
      queueMicrotask(changed)
    }
  }
  window.addEventListener("popstate", changed)
  window.addEventListener("hashchange", changed)
}
