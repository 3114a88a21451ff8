/** Runs found by what somebody types: part of a name, or an id or address that was pasted. */

import { useMemo } from "react"

import { useAnswer } from "../api/use-answer"
import { useRested } from "../controls/rested"
import type { RunRow, RunsAnswer } from "./api"

const MAX_FOUND = 20
const TYPING_MS = 150
const RUN_ID = /(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])/

export interface FoundRuns {
  readonly rows: readonly RunRow[]
  /** As many as match, listed or not. */
  readonly matching: number
  readonly isAsking: boolean
  readonly error: Error | null
}

/** The id in a text such as a run's address; null where there is none. */
export function pastedId(text: string): string | null {
  return RUN_ID.exec(text.toLowerCase())?.[0] ?? null
}

/** Of runs found by an older text, those that are found by this one too. */
export function stillFound(rows: readonly RunRow[], text: string): readonly RunRow[] {
  const wanted = text.trim().toLowerCase()
  return rows.filter((row) => row.name.toLowerCase().includes(wanted) || row.id.includes(wanted))
}

/** Ask for the newest runs whose name has the text; no experiments ask nothing. */
export function useFoundRuns(experimentIds: readonly string[], text: string): FoundRuns {
  const search = useRested(text.trim(), TYPING_MS)
  const isAsked = experimentIds.length > 0 && pastedId(search) === null
  const answer = useAnswer<RunsAnswer>(isAsked ? "runs" : null, {
    experiments: experimentIds,
    search,
    limit: MAX_FOUND,
    ids: false,
  })
  const { data, error, isLoading } = answer
  return useMemo(() => {
    const isAsking = isLoading || search !== text.trim()
    const rows = data?.rows ?? []
    return {
      // Enter, pressed before the answer is there, is not to open what the text does not name.
      rows: isAsking ? stillFound(rows, text) : rows,
      matching: data?.matching ?? 0,
      isAsking,
      error,
    }
  }, [data, error, isLoading, search, text])
}
