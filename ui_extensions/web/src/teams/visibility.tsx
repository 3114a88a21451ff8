import "./badge.css"

import { useMemo, useRef, useSyncExternalStore } from "react"

import type { Answer } from "../api/use-answer"
import { useAsked } from "../api/use-answer"
import { Icon } from "../controls/icon"
import type { IconName } from "../controls/icon"
import type { Level, Seen } from "./api"
import { readVisibility } from "./api"

export const LEVEL_WORDS: Readonly<Record<Level, { word: string; icon: IconName; means: string }>> = {
  private: { word: "Private", icon: "lock", means: "Its owner, whom they named, and administrators" },
  team: { word: "Team", icon: "people", means: "As MLflow’s permissions say" },
  public: { word: "Public", icon: "globe", means: "Anybody with its address, read-only" },
}
export const NO_LOGIN = "This server has no login: everybody who reaches it sees everything."

const listeners = new Set<() => void>()
let version = 0

/** Say that somebody's visibility was changed. */
export function visibilityChanged(): void {
  version += 1
  for (const listener of [...listeners]) listener()
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Who may see experiments; asked again wherever it was changed. */
export function useVisibility(experimentIds: readonly string[]): Answer<Seen> {
  const now = useSyncExternalStore(subscribe, () => version)
  const of = experimentIds.join()
  const answer = useAsked(experimentIds.length === 0 ? null : `${of} ${now}`, (options) =>
    readVisibility(experimentIds, options),
  )
  // While it is asked again, what was there stays, and with it a dialog that is open.
  const kept = useRef<{ of: string; data: Seen } | null>(null)
  if (answer.data !== null) kept.current = { of, data: answer.data }
  return { ...answer, data: kept.current?.of === of ? kept.current.data : null }
}

/** As many as the server tells at once. */
const MOST_ASKED = 200

/** The same of experiments that are listed, the first of them where they are many. */
export function useListVisibility(experiments: readonly { readonly id: string }[]): Seen | null {
  return useVisibility(useMemo(() => experiments.slice(0, MOST_ASKED).map(({ id }) => id), [experiments])).data
}

/** What stands beside an experiment's name: a word, and what it means for this server. */
export function wordOf(
  seen: Seen | null,
  experimentId: string,
): { word: string; icon: IconName; means: string } | null {
  if (seen === null) return null
  if (!seen.has_login) return { word: "No login", icon: "warning", means: NO_LOGIN }
  const found = seen.experiments.find((one) => one.id === experimentId)
  return found === undefined ? null : LEVEL_WORDS[found.level]
}

/** The word alone, in a list. */
export function VisibilityWord({ of, experimentId }: { of: Seen | null; experimentId: string }) {
  const found = wordOf(of, experimentId)
  if (found === null) return null
  return (
    <span className="w-seen" title={found.means}>
      <Icon name={found.icon} /> {found.word}
    </span>
  )
}
