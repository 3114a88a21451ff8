import "../runs/runs.css"

import { useMemo, useState } from "react"

import { askAhead } from "../api/client"
import { useAnswer } from "../api/use-answer"
import { IconButton } from "../controls/button"
import { Empty, Failed, Loading } from "../controls/state"
import { nextAxis } from "../charts/toolbar"
import { settingsOf } from "../charts/types"
import { AsOf } from "../data/as-of"
import { StockLink } from "../layout/stock-link"
import { PlaceLink } from "../layout/link"
import { Page } from "../layout/page"
import { usePaletteSource } from "../palette/commands"
import { route, setQuery, useRoute } from "../router"
import type { RunRow } from "../runs/api"
import { BulkBar } from "../runs/bulk-bar"
import { Charts } from "../runs/charts"
import type { Frozen } from "../runs/data"
import { EditRun } from "../runs/edit-run"
import { LiveMark } from "../runs/live-mark"
import { useMedia } from "../runs/media"
import { NoRuns } from "../runs/no-runs"
import { onlyMine } from "../runs/only-mine"
import { WithReports } from "../reports/add"
import { workspaceRuns } from "../reports/workspace-runs"
import { RunsPanel } from "../runs/panel"
import { RunActionsProvider, useAct } from "../runs/run-actions"
import { RunMenu } from "../runs/run-menu"
import { ShortCuts, useShortCuts } from "../runs/short-cuts"
import { Toast } from "../runs/toast"
import { workspaceCommands } from "../runs/workspace-commands"
import { WorkspaceProvider } from "../runs/workspace-context"
import { useWorkspaceState } from "../runs/workspace-state"
import { ShareBadge } from "../share/badge"
import { ShareButton } from "../share/button"
import { VisibilityBadge } from "../teams/badge"
import { selectionScope, workspaceScopes } from "../share/scopes"
import { count } from "../text/format"
import { visible } from "../text/visible"
import { askViewsAhead } from "../view/api"
import { SavingNote, UndoButtons, ViewMenu } from "../view/menu"
import type { View } from "../view/store"
import { useViewStore, ViewProvider } from "../view/store"

/** Ask for what does not depend on the view, before the page is there. */
export function askWorkspaceAhead(experimentIds: readonly string[]): void {
  askViewsAhead(experimentIds)
  askAhead("keys", { experiments: experimentIds })
  askAhead("columns", { experiments: experimentIds, deleted: false })
  askAhead("experiments/names", { experiments: experimentIds })
}

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
  const frozen = useFrozen()
  const state = useWorkspaceState(experimentIds, view, frozen)
  const { list, isTable, tell } = state
  const experiments = useAnswer<{ experiments: readonly ExperimentName[] }>("experiments/names", {
    experiments: experimentIds,
  })
  const [edited, edit] = useState<RunRow | null>(null)
  const act = useAct(experimentIds, tell, list.refresh)
  const actions = useMemo(() => ({ act, edit }), [act])
  const isPhone = useMedia("(max-width: 767px)")
  const [areKeysShown, showKeys] = useState(false)
  useShortCuts({
    view,
    live: list.live,
    onHelp: () => showKeys(true),
    onAll: () => update({ eye: { base: "all", n: 0, shown: [], hidden: [] } }),
    onNextAxis: () => {
      if (isTable) return
      const { groups: _, centre: __, band: ___, ...settings } = settingsOf(doc.settings)
      update({ settings: { ...settings, x: nextAxis(settings.x), zoom: null } })
    },
  })
  usePaletteSource({
    experimentIds,
    showMetric: (key) => update({ chartSearch: key, side: { ...doc.side, isTable: false } }),
    commands: workspaceCommands(state, view, () => showKeys(true)),
  })
  const mine = onlyMine(state)
  const found = experiments.data?.experiments ?? []
  const [first = "0"] = experimentIds
  const isBare = !list.isFirst && !list.error && list.total === 0 && !doc.showsDeleted
  const title = found.map((one) => one.name).join(", ") || `Experiment ${first}`
  return (
    <AsOf.Provider value={frozen.atMs}>
      <WorkspaceProvider value={state}>
        <RunActionsProvider value={actions}>
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
            beside={
              <>
                <LiveMark live={list.live} />
                {experimentIds.length === 1 && (
                  <VisibilityBadge isLed experimentId={first} name={title} />
                )}
                <PlaceLink className="w-head-link" to={{ page: "reports" }} query={new URLSearchParams({ e: first })}>
                  Reports
                </PlaceLink>
                {experimentIds.length === 1 && (
                  <PlaceLink className="w-head-link" to={{ page: "alerts" }} query={new URLSearchParams({ e: first })}>
                    Alerts
                  </PlaceLink>
                )}
                {experimentIds.length === 1 && view.mayEdit && <ShareBadge experimentId={first} />}
              </>
            }
            actions={
              <>
                <UndoButtons />
                <ViewMenu experimentIds={experimentIds} onTell={(text) => tell({ text })} />
                <ShareButton
                  mayShare={view.mayEdit}
                  isLed
                  isReady={!list.isFirst && !experiments.isLoading}
                  scopes={() => workspaceScopes(state, title)}
                />
                {!isPhone && (
                  <IconButton icon="info" label="Keys (?)" isSmall onClick={() => showKeys(true)} />
                )}
              </>
            }
          >
            <SavingNote />
            <div className={`w-workspace${isPhone ? " w-workspace-phone" : ""}`}>
              <RunsPanel
                isPhone={isPhone}
                bulk={
                  <BulkBar>
                    <ShareButton mayShare={view.mayEdit} scopes={() => [selectionScope(state, title)]} />
                  </BulkBar>
                }
                menu={RunMenu}
                noRuns={isTable ? <NoRuns /> : <Empty>Runs are listed here.</Empty>}
                eyeItems={[
                  ...(mine ? [{ label: mine.label, onSelect: mine.run }] : []),
                  {
                    label: doc.showsDeleted ? "Back to the active runs" : "Deleted runs",
                    onSelect: () => update({ showsDeleted: !doc.showsDeleted }),
                  },
                ]}
              />
              {!isTable && isBare && (
                <section className="w-charts w-charts-bare" aria-label="Charts">
                  <NoRuns />
                </section>
              )}
              {!isTable && !isBare && (
                <WithReports
                  mayEdit={view.mayEdit}
                  sets={() => workspaceRuns(state, frozen.atMs)}
                  clockMs={list.clockMs}
                >
                  <Charts />
                </WithReports>
              )}
            </div>
            <Toast />
            {edited && <EditRun row={edited} onClose={() => edit(null)} />}
            {areKeysShown && <ShortCuts onClose={() => showKeys(false)} />}
          </Page>
        </RunActionsProvider>
      </WorkspaceProvider>
    </AsOf.Provider>
  )
}
