/** What can be shared from a workspace or a run's page. */

import type { RunFacts } from "../run/facts"
import { effectiveFilter } from "../runs/data"
import type { WorkspaceState } from "../runs/workspace-context"
import type { Scope } from "./draft"
import { runsWord } from "./words"

/** As many runs as one link names at most. */
export const MAX_RUNS = 1_000

/** The view, the runs that are selected, and all of it. */
export function workspaceScopes(state: WorkspaceState, title: string): Scope[] {
  const { experimentIds, view, list, selection } = state
  const { doc } = view
  // A list that is frozen holds no run that began later.
  const filter = effectiveFilter(doc, list.live.isOn ? null : list.live.atMs)
  const viewed: Scope = {
    kind: "view",
    label: `This view: ${runsWord(list.ids.count)}`,
    title,
    meant: {
      experiment_ids: experimentIds,
      run_ids: null,
      filter: { filter, search: doc.search, regex: doc.isRegex },
    },
    view: doc,
  }
  const whole: Scope = {
    kind: "experiment",
    label: experimentIds.length === 1 ? "The whole experiment" : "These experiments",
    title,
    meant: { experiment_ids: experimentIds, run_ids: null, filter: null },
    view: doc,
  }
  const selected = selection.ids.size > 0 ? [selectionScope(state, title)] : []
  return [viewed, ...selected, whole]
}

/** The runs that are selected, as many as a link may name. */
export function selectionScope(state: WorkspaceState, title: string): Scope {
  const ids = [...state.selection.ids].slice(0, MAX_RUNS)
  return {
    kind: "runs",
    label: ids.length === 1 ? "The selected run" : `The ${ids.length} selected runs`,
    title,
    meant: { experiment_ids: state.experimentIds, run_ids: ids, filter: null },
    view: state.view.doc,
  }
}

export function runScope(run: RunFacts): Scope {
  return {
    kind: "run",
    label: "This run",
    title: run.name || run.experiment_name,
    meant: { experiment_ids: [run.experiment_id], run_ids: [run.id], filter: null },
    view: null,
  }
}

/** A report as it was published last. */
export function reportScope(id: string, title: string, experimentIds: readonly string[]): Scope {
  return {
    kind: "report",
    label: "This report",
    title,
    meant: { experiment_ids: experimentIds, run_ids: null, filter: null, report_id: id },
    view: null,
  }
}
