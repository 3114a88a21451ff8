import "../runs/runs.css"

import { useCallback, useEffect, useMemo, useRef, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { Button, IconButton } from "../controls/button"
import { Failed, Loading } from "../controls/state"
import { AsOf } from "../data/as-of"
import { usePaletteSource } from "../palette/commands"
import { workspaceCommands } from "../runs/workspace-commands"
import { StockLink } from "../layout/link"
import { Page } from "../layout/page"
import type { ActionDetails, GroupsAnswer, KnownKeys, RunAction, RunRow } from "../runs/api"
import { actOnRuns } from "../runs/api"
import { autoColumns } from "../runs/columns"
import type { Frozen } from "../runs/data"
import { effectiveFilter, useRunList } from "../runs/data"
import { route, setQuery, useRoute } from "../router"
import { EditRun } from "../runs/edit-run"
import { MAX_DRAWN, shownTest } from "../runs/eye"
import { colouring as colouringOf } from "../runs/colour-by"
import { runColour, runDash } from "../runs/colour"
import { Charts } from "../runs/charts"
import { LiveMark } from "../runs/live-mark"
import { RunsPanel } from "../runs/panel"
import { ShortCuts, useShortCuts } from "../runs/short-cuts"
import type { Notice, Selection, WorkspaceState } from "../runs/workspace-context"
import { WorkspaceProvider } from "../runs/workspace-context"
import { useTheme } from "../theme"
import { count } from "../text/format"
import { visible } from "../text/visible"
import { useMedia } from "../runs/media"
import { SavingNote, UndoButtons, ViewMenu } from "../view/menu"
import type { View } from "../view/store"
import { useViewStore, ViewProvider } from "../view/store"

const NOTICE_MS = 10_000

/** The workspace of one experiment or several. */
export function Workspace({ experimentIds }: { experimentIds: string[] }) {
  const { view, error, retry } = useViewStore(experimentIds)
  const [first = "0"] = experimentIds
  if (view === null) {
    return (
      <Page id={`/e/${experimentIds.join(",")}`} title="Workspace">
        {error ? (
          <Failed what="The workspace could not be read" error={error} onRetry={retry} />
        ) : (
          <Loading label="Loading the workspace" rows={12} />
        )}
        <StockLink to={`/experiments/${first}/runs`}>The runs in MLflow</StockLink>
      </Page>
    )
  }
  return (
    <ViewProvider value={view}>
      <WorkspaceBody experimentIds={experimentIds} view={view} />
    </ViewProvider>
  )
}

interface ExperimentName {
  readonly id: string
  readonly name: string
}

/** The moment that the URL freezes the list at (`at=`, in ms), and how to. */
function useFrozen(): Frozen {
  const { query } = useRoute()
  const at = Number(query.get("at") ?? Number.NaN)
  const atMs = Number.isSafeInteger(at) && at > 0 ? at : null
  return useMemo(
    () => ({
      atMs,
      set: (moment) => {
        const next = new URLSearchParams(route().query)
        if (moment === null) next.delete("at")
        else next.set("at", String(Math.round(moment)))
        setQuery(next)
      },
    }),
    [atMs],
  )
}

function WorkspaceBody({ experimentIds, view }: { experimentIds: string[]; view: View }) {
  const { doc, update } = view
  const [hasRuns, setHasRuns] = useState(false)
  const known = useAnswer<KnownKeys>("columns", {
    experiments: experimentIds,
    deleted: doc.showsDeleted,
    // Asked again when the first run has come.
    has_runs: hasRuns,
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
  const frozen = useFrozen()
  const list = useRunList(experimentIds, doc, names, drawnNames, frozen)
  useEffect(() => setHasRuns(list.total > 0), [list.total])
  const experiments = useAnswer<{ experiments: readonly ExperimentName[] }>("experiments/names", {
    experiments: experimentIds,
  })
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
  const [edited, edit] = useState<RunRow | null>(null)
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
  const { refresh } = list
  const experimentsKey = experimentIds.join()
  const ownExperiments = useMemo(() => experimentsKey.split(","), [experimentsKey])
  const act = useCallback(
    async (
      ids: readonly string[],
      action: RunAction,
      more: ActionDetails = {},
    ): Promise<void> => {
      const word = `${count(ids.length)} ${ids.length === 1 ? "run" : "runs"}`
      const said: Record<RunAction, string> = {
        tag: "tagged",
        untag: "untagged",
        delete: "deleted",
        restore: "restored",
        rename: "renamed",
        move: "moved",
      }
      try {
        if (ids.length > 100) tell({ text: `${word} are being ${said[action]}…` })
        const { done, failed } = await actOnRuns(ids, action, more)
        const [one] = failed
        const [home, ...others] = ownExperiments
        const undone: Notice["undo"] =
          action === "delete"
            ? () => void act(done, "restore")
            : action === "move" && home !== undefined && others.length === 0 && home !== more.experiment_id
              ? () => void act(done, "move", { experiment_id: home })
              : undefined
        const text = one
          ? `${count(done.length)} of ${word} ${said[action]}; ${visible(one.error || "not permitted", 120)}`
          : `${word} ${said[action]}`
        tell(undone && done.length > 0 ? { text, undo: undone } : { text })
      } catch (error) {
        tell({ text: `Not ${said[action]}: ${error instanceof Error ? error.message : String(error)}` })
      }
      refresh()
    },
    [refresh, ownExperiments],
  )

  const isPhone = useMedia("(max-width: 767px)")
  const isTable = doc.side.isTable
  const state: WorkspaceState = {
    experimentIds,
    view,
    list,
    groups: lastGroups.current,
    groupsError: groups.error,
    known: lastKnown.current,
    columns,
    isTable,
    isShown,
    colouring,
    lookOf,
    firstIds,
    selection,
    raised,
    raise,
    act,
    edit,
    notice,
    tell,
  }
  const [areKeysShown, showKeys] = useState(false)
  useShortCuts({
    view,
    live: list.live,
    onHelp: () => showKeys(true),
    onAll: () => update({ eye: { base: "all", n: 0, shown: [], hidden: [] } }),
  })
  usePaletteSource({
    experimentIds,
    showMetric: (key) => update({ chartSearch: key, side: { ...doc.side, isTable: false } }),
    commands: workspaceCommands(state, () => showKeys(true)),
  })
  const found = experiments.data?.experiments ?? []
  const [first = "0"] = experimentIds
  return (
    <AsOf.Provider value={frozen.atMs}>
    <WorkspaceProvider value={state}>
      <Page
        id={`/e/${experimentIds.join(",")}`}
        title="Workspace"
        isPadded={false}
        crumbs={[
          {
            key: "experiment",
            content:
              experimentIds.length === 1 ? (
                <StockLink to={`/experiments/${first}/runs`} title={visible(found[0]?.name ?? first)}>
                  {visible(found[0]?.name ?? `Experiment ${first}`, 250)}
                </StockLink>
              ) : (
                <span title={found.map((one) => visible(one.name, 80)).join(", ")}>
                  {count(experimentIds.length)} experiments
                </span>
              ),
          },
        ]}
        beside={<LiveMark live={list.live} />}
        actions={
          <>
            <UndoButtons />
            <ViewMenu experimentIds={experimentIds} onTell={(text) => tell({ text })} />
            {!isPhone && (
              <IconButton icon="info" label="Keys (?)" isSmall onClick={() => showKeys(true)} />
            )}
          </>
        }
      >
        <SavingNote />
        <div className={`w-workspace${isPhone ? " w-workspace-phone" : ""}`}>
          <RunsPanel isPhone={isPhone} />
          {!isTable && <Charts />}
        </div>
        <div className="w-toast-place" role="status">
          {notice && (
            <div className="w-toast">
              <span>{notice.text}</span>
              {notice.undo && (
                <Button
                  isSmall
                  onClick={() => {
                    notice.undo?.()
                    tell(null)
                  }}
                >
                  Undo
                </Button>
              )}
              <IconButton icon="close" label="Close" isSmall onClick={() => tell(null)} />
            </div>
          )}
        </div>
        {edited && <EditRun row={edited} onClose={() => edit(null)} />}
        {areKeysShown && <ShortCuts onClose={() => showKeys(false)} />}
      </Page>
    </WorkspaceProvider>
    </AsOf.Provider>
  )
}
