/** The runs that a workspace's charts show, as a panel of a report has them. */

import type { WorkspaceState } from "../runs/workspace-context"
import { effectiveFilter } from "../runs/data"
import type { AddedRuns } from "./add"
import { MAX_NAMED, runSet } from "./document"

export function workspaceRuns(state: WorkspaceState, atMs: number | null): AddedRuns[] {
  const { doc } = state.view
  const shown = state.firstIds.filter((id) => state.isShown(id, state.list.row(id)?.status ?? ""))
  const look = {
    order: doc.order,
    groupBy: doc.groupBy,
    centre: doc.centre,
    band: doc.band,
    colourBy: doc.colourBy,
    at: atMs,
  }
  const found = {
    label: "What matches, also later",
    runs: runSet(state.experimentIds, {
      ...look,
      // What the URL freezes is said by `at`.
      filter: effectiveFilter(doc, null),
      search: doc.search,
      regex: doc.isRegex,
      most: Math.min(1_000, Math.max(1, doc.eye.base === "top" ? doc.eye.n : 1_000)),
    }),
  }
  const isNamed = shown.length > 0 && shown.length <= MAX_NAMED
  const named = {
    label: `These ${shown.length} runs`,
    runs: runSet(state.experimentIds, { ...look, ids: shown, most: Math.max(1, shown.length) }),
  }
  const isRule = doc.eye.base === "all" && doc.eye.hidden.length === 0
  if (!isNamed) return [found]
  return isRule ? [found, named] : [named, found]
}
