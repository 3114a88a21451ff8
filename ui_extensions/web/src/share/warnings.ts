/** What ought to be thought about before a link is made; each names what it is about. */

import { visible } from "../text/visible"
import type { Keyed, Shown } from "./api"
import { EVERY } from "./api"

const TELLING =
  /user|author|owner|e?mail|customer|client|patient|person|host|machine|path|dir(ectory)?$|folder|url|uri|token|secret|passw|credential|api.?key|account|bucket/i
const ONE: Record<Exclude<Keyed, "metrics">, string> = { params: "param", tags: "tag" }
const MOST_NAMED = 6

/** @param isOpen Runs that come later are in it too. */
export function warningsOf(
  shown: Shown,
  isLive: boolean,
  isOpen: boolean,
): string[] {
  const found: string[] = []
  if (isLive && isOpen) found.push("Runs that come later are public too, as soon as they match.")
  if (shown.metrics.includes(EVERY)) {
    found.push("Metrics that are logged later are public too, whatever they are called.")
  }
  for (const kind of ["params", "tags"] as const) {
    const telling = shown[kind].filter((key) => TELLING.test(key))
    for (const key of telling.slice(0, MOST_NAMED)) {
      found.push(`The ${ONE[kind]} “${visible(key, 80)}” is ticked.`)
    }
    if (telling.length > MOST_NAMED) {
      found.push(`${telling.length - MOST_NAMED} more ${kind} with such names are ticked.`)
    }
  }
  if (shown.files) found.push("Files are shown whole, with whatever is in them.")
  if (shown.console) found.push("The console is shown whole, with paths and whatever was printed.")
  if (shown.patch) found.push("The patch is source code that nobody has published yet.")
  return found
}
