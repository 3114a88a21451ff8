/** What changes runs, for those parts of a workspace that do: a visitor's page has none of them. */

import { createContext, useCallback, useContext } from "react"

import { count } from "../text/format"
import { visible } from "../text/visible"
import type { ActionDetails, RunAction } from "./act"
import { actOnRuns } from "./act"
import type { RunRow } from "./api"
import type { Notice } from "./workspace-context"

export interface RunActions {
  readonly act: (
    ids: readonly string[],
    action: RunAction,
    more?: ActionDetails,
  ) => Promise<void>
  readonly edit: (row: RunRow) => void
}

const RunActionsContext = createContext<RunActions | null>(null)
export const RunActionsProvider = RunActionsContext.Provider

/** The actions of the workspace around. */
export function useRunActions(): RunActions {
  const actions = useContext(RunActionsContext)
  if (actions === null) throw new Error("useRunActions outside a workspace that changes runs")
  return actions
}

const SAID: Record<RunAction, string> = {
  tag: "tagged",
  untag: "untagged",
  delete: "deleted",
  restore: "restored",
  rename: "renamed",
  move: "moved",
}

/**
 * Do something to runs, and say how it went; what was deleted or moved can be brought back from there.
 *
 * @param experimentIds Those that are shown.
 */
export function useAct(
  experimentIds: readonly string[],
  tell: (notice: Notice | null) => void,
  refresh: () => void,
): RunActions["act"] {
  const experiments = experimentIds.join()
  const act = useCallback<RunActions["act"]>(
    async (ids, action, more = {}) => {
      const word = `${count(ids.length)} ${ids.length === 1 ? "run" : "runs"}`
      try {
        if (ids.length > 100) tell({ text: `${word} are being ${SAID[action]}…` })
        const { done, failed } = await actOnRuns(ids, action, more)
        const [one] = failed
        const [home, ...others] = experiments.split(",")
        const undone: Notice["undo"] =
          action === "delete"
            ? () => void act(done, "restore")
            : action === "move" && home !== undefined && others.length === 0 && home !== more.experiment_id
              ? () => void act(done, "move", { experiment_id: home })
              : undefined
        const text = one
          ? `${count(done.length)} of ${word} ${SAID[action]}; ${visible(one.error || "not permitted", 120)}`
          : `${word} ${SAID[action]}`
        tell(undone && done.length > 0 ? { text, undo: undone } : { text })
      } catch (error) {
        tell({ text: `Not ${SAID[action]}: ${error instanceof Error ? error.message : String(error)}` })
      }
      refresh()
    },
    [tell, refresh, experiments],
  )
  return act
}
