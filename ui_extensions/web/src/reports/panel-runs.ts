/** The runs of a panel: found or named, live or as of a moment, with their looks and groups. */

import { useMemo, useRef } from "react"

import { useAnswer } from "../api/use-answer"
import type { DrawnRun, RunGroup } from "../charts/types"
import type { GroupsAnswer, RunRow } from "../runs/api"
import { RunIds } from "../runs/api"
import { colouring as colouringOf } from "../runs/colour-by"
import { runColour, runDash, slotColour } from "../runs/colour"
import type { RunList } from "../runs/data"
import { effectiveFilter, useRunList } from "../runs/data"
import { groupLabel } from "../runs/group-label"
import { useTheme } from "../theme"
import type { ViewDocument } from "../view/document"
import { DEFAULT_VIEW } from "../view/document"
import type { RunSet } from "./document"

export interface PanelRuns {
  readonly list: RunList
  readonly rows: readonly RunRow[]
  readonly runs: readonly DrawnRun[]
  readonly groups: RunGroup[] | null
  /** That match; more than are drawn, maybe. */
  readonly matching: number
}

const RUN_ID = /^[0-9a-f]{32}$/

/** The filter of a set: its own, or the ids it names. */
export function filterOf(set: RunSet): string {
  if (set.ids === null) return set.filter
  const ids = set.ids.filter((id) => RUN_ID.test(id))
  return `attributes.run_id in (${ids.map((id) => `'${id}'`).join(", ")})`
}

function documentOf(set: RunSet): ViewDocument {
  return {
    ...DEFAULT_VIEW,
    filter: filterOf(set),
    search: set.ids === null ? set.search : "",
    isRegex: set.regex,
    order: set.order,
    groupBy: set.groupBy,
    colourBy: set.colourBy,
  }
}

const NONE: readonly string[] = []

/** @param columns Of which the cells are to be known. */
export function usePanelRuns(set: RunSet, columns: readonly string[] = NONE): PanelRuns {
  const theme = useTheme()
  const doc = useMemo(() => documentOf(set), [set])
  const frozen = useMemo(() => ({ atMs: set.at, set: () => undefined }), [set.at])
  const { colourBy } = set
  const names = useMemo(() => (colourBy === "" ? columns : [...new Set([...columns, colourBy])]), [columns, colourBy])
  const list = useRunList(set.experiments, doc, names, names, frozen)
  const { first, ids } = list
  const rows = useMemo(() => {
    const wanted = new Set(ids.slice(0, set.most))
    const found = first.filter((row) => wanted.has(row.id))
    // Named runs stand in the order in which they are named.
    if (set.ids === null || set.order.length > 0) return found
    const place = new Map(set.ids.map((id, at) => [id, at]))
    return [...found].sort((a, b) => (place.get(a.id) ?? 0) - (place.get(b.id) ?? 0))
  }, [first, ids, set])
  const colouring = useMemo(() => {
    if (colourBy === "") return null
    return colouringOf(colourBy, rows.map(({ id }) => ({ id, cell: list.cell(id, colourBy) })), theme)
    // Cells are looked up; they are new when the rows are.
  }, [colourBy, rows, theme])
  const runs = useMemo(
    () =>
      rows.map(
        (row): DrawnRun => ({
          id: row.id,
          name: row.name,
          ordinal: row.ordinal,
          ...(colouring === null
            ? { colour: runColour(row, theme), dash: runDash(row) }
            : colouring.of(list.cell(row.id, colouring.column))),
          status: row.status,
          startMs: row.start,
          endMs: row.end,
          isVisible: true,
          experimentId: row.experiment,
        }),
      ),
    [rows, colouring, theme],
  )
  const kept = useRef<{ key: string; runs: readonly DrawnRun[] }>({ key: "", runs: [] })
  const key = JSON.stringify(runs)
  // The same array as long as it says the same, so that nothing is painted for nothing.
  if (kept.current.key !== key) kept.current = { key, runs }
  const groups = usePanelGroups(set, doc, kept.current.runs)
  return { list, rows, runs: kept.current.runs, groups, matching: ids.count }
}

function usePanelGroups(
  set: RunSet,
  doc: ViewDocument,
  runs: readonly DrawnRun[],
): RunGroup[] | null {
  const theme = useTheme()
  const isGrouped = set.groupBy.length > 0
  const answer = useAnswer<GroupsAnswer>(isGrouped ? "groups" : null, {
    experiments: set.experiments,
    filter: effectiveFilter(doc, set.at),
    search: doc.search,
    regex: doc.isRegex,
    by: set.groupBy,
    columns: [],
    deleted: false,
    at: set.at,
  })
  return useMemo(() => {
    if (!isGrouped || answer.data === null) return null
    const shown = new Set(runs.map((run) => run.id))
    return answer.data.groups.flatMap((group, at) => {
      const ids = RunIds.decode(group.ids)
      const runIds = ids.slice(0, ids.count).filter((id) => shown.has(id))
      if (runIds.length === 0) return []
      return [
        { key: JSON.stringify(group.values), label: groupLabel(group), colour: slotColour(at, theme), runIds },
      ]
    })
  }, [isGrouped, answer.data, runs, theme])
}
