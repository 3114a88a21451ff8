/** The links of an experiment, or all: one answer, asked for again wherever a link was changed. */

import { useRef, useSyncExternalStore } from "react"

import type { Answer } from "../api/use-answer"
import { useAsked } from "../api/use-answer"
import { PAGES } from "../addresses"
import type { Shares } from "./api"
import { listShares } from "./api"

const listeners = new Set<() => void>()
let version = 0

/** Say that a link was made or changed. */
export function sharesChanged(): void {
  version += 1
  for (const listener of [...listeners]) listener()
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** @param experimentId Null for the links of all experiments. */
export function useShares(experimentId: string | null): Answer<Shares> {
  const now = useSyncExternalStore(subscribe, () => version)
  const of = experimentId ?? ""
  const answer = useAsked(`${of} ${now}`, (options) => listShares(experimentId, options))
  // While it is asked again, what was there stays.
  const kept = useRef<{ of: string; data: Shares } | null>(null)
  if (answer.data !== null) kept.current = { of, data: answer.data }
  const data = kept.current?.of === of ? kept.current.data : null
  return { ...answer, data }
}

/** The address to give away, also where a proxy mounts the server below a path of its own. */
export function addressOf(token: string): string {
  return new URL(`s/${encodeURIComponent(token)}`, PAGES).href
}
