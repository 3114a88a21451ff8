/** All that a workspace shares, of some experiments as they are arranged. */

import { useCallback, useEffect, useMemo, useRef, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { useTheme } from "../theme"
import type { Arrangement } from "../view/arrangement"
import type { GroupsAnswer, KnownKeys } from "./api"
import { colouring as colouringOf } from "./colour-by"
import { runColour, runDash } from "./colour"
import { autoColumns } from "./columns"
import type { Frozen } from "./data"
import { effectiveFilter, useRunList } from "./data"
import { MAX_DRAWN, shownTest } from "./eye"
import type { Notice, Selection, WorkspaceState } from "./workspace-context"

const NOTICE_MS = 10_000

export function useWorkspaceState(
  experimentIds: readonly string[],
  view: Arrangement,
  frozen: Frozen,
): WorkspaceState {
  const { doc } = view
  const known = useAnswer<KnownKeys>("columns", {
    experiments: experimentIds,
    deleted: doc.showsDeleted,
  })
  const lastKnown = useRef<KnownKeys | null>(null)
  if (known.data) lastKnown.current = known.data
  const columns = useMemo(
    () => (doc.columns.length > 0 ? doc.columns : autoColumns(known.data)),
    [doc.columns, known.data],
  )
  const { colourBy } = doc
  const names = useMemo(() => {
    const shown = columns.map((one) => one.name)
    return colourBy === "" || shown.includes(colourBy) ? shown : [...shown, colourBy]
  }, [columns, colourBy])
  const drawnNames = useMemo(() => (colourBy === "" ? [] : [colourBy]), [colourBy])
  const list = useRunList(experimentIds, doc, names, drawnNames, frozen)
  // Asked again when the first run has come.
  const { data: knownKeys, retry: askKeys } = known
  const knowsNone = knownKeys !== null && !Object.values(knownKeys).some((keys) => keys.length > 0)
  const hasRuns = list.total > 0
  useEffect(() => {
    if (hasRuns && knowsNone) askKeys()
  }, [hasRuns, knowsNone, askKeys])
  const groups = useAnswer<GroupsAnswer>(doc.groupBy.length > 0 ? "groups" : null, {
    experiments: experimentIds,
    filter: list.fault ? "" : effectiveFilter(doc, frozen.atMs),
    search: doc.search,
    regex: doc.isRegex,
    by: doc.groupBy,
    columns: names.slice(0, 50),
    deleted: doc.showsDeleted,
  })
  // While groups are asked again, the ones before stay.
  const lastGroups = useRef<GroupsAnswer | null>(null)
  if (doc.groupBy.length === 0) lastGroups.current = null
  else if (groups.data) lastGroups.current = groups.data

  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  const [raised, raise] = useState<string | null>(null)
  const [notice, tell] = useState<Notice | null>(null)
  useEffect(() => {
    if (notice === null) return
    const timer = window.setTimeout(() => tell(null), NOTICE_MS)
    return () => window.clearTimeout(timer)
  }, [notice])

  const firstIds = useMemo(() => list.ids.slice(0, MAX_DRAWN), [list.ids])
  const isShown = useMemo(() => shownTest(doc.eye, firstIds), [doc.eye, firstIds])
  const theme = useTheme()
  const { first: firstRows } = list
  const colouring = useMemo(() => {
    if (colourBy === "") return null
    const valued = firstRows.map(({ id }) => ({ id, cell: list.cell(id, colourBy) }))
    return colouringOf(colourBy, valued, theme)
    // Cells are looked up; they are new when the rows are.
  }, [colourBy, firstRows, theme])
  const lookOf = useCallback<WorkspaceState["lookOf"]>(
    (row) =>
      colouring === null || row.id === undefined
        ? { colour: runColour(row, theme), dash: runDash(row) }
        : colouring.of(list.cell(row.id, colouring.column)),
    [colouring, theme],
  )
  const selection = useMemo<Selection>(
    () => ({
      ids: selected,
      set: (ids) => setSelected(new Set(ids)),
      toggle: (id) =>
        setSelected((before) => {
          const next = new Set(before)
          if (!next.delete(id)) next.add(id)
          return next
        }),
    }),
    [selected],
  )
  const now: WorkspaceState = {
    experimentIds,
    view,
    me: view.user ?? null,
    list,
    groups: lastGroups.current,
    groupsError: groups.error,
    known: lastKnown.current,
    columns,
    isTable: doc.side.isTable,
    isShown,
    colouring,
    lookOf,
    firstIds,
    selection,
    raised,
    raise,
    notice,
    tell,
  }
  // The same object while nothing in it changed: whatever shows a part of it renders with it.
  const before = useRef(now)
  const parts = Object.keys(now) as (keyof WorkspaceState)[]
  if (parts.some((name) => before.current[name] !== now[name])) before.current = now
  return before.current
}
