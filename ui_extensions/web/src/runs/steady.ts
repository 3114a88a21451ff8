/**
 * A list that does not move under the pointer: while somebody is in it, what is new waits until it is
 * asked for.
 */

import { useMemo, useRef, useState } from "react"

import type { RunIds } from "./api"

export interface Steady {
  /** The ids to list. */
  readonly ids: RunIds
  /** Something has changed that is not listed yet. */
  readonly isWaiting: boolean
  /** Runs of it that are new. */
  readonly nNew: number
  readonly showAll: () => void
}

/**
 * Keep the ids that are listed.
 *
 * @param ids As the server has them now.
 * @param asked Another number where somebody asked for another list: that one is shown at once.
 * @param isBusy Somebody reads, points at or scrolls the list.
 */
export function useSteadyIds(ids: RunIds, asked: number, isBusy: boolean): Steady {
  const [, redraw] = useState(0)
  const listed = useRef({ ids, asked })
  if (listed.current.asked !== asked || !isBusy) listed.current = { ids, asked }
  const shown = listed.current.ids
  const nNew = useMemo(() => countNew(ids, shown), [ids, shown])
  return {
    ids: shown,
    isWaiting: shown !== ids,
    nNew,
    showAll: () => {
      listed.current = { ids, asked }
      redraw((n) => n + 1)
    },
  }
}

function countNew(ids: RunIds, shown: RunIds): number {
  if (ids === shown) return 0
  const known = new Set(shown.slice(0, shown.count))
  let n = 0
  for (let at = 0; at < ids.count; at += 1) if (!known.has(ids.at(at))) n += 1
  return n
}
