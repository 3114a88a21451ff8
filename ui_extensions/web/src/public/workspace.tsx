import "../runs/runs.css"

import { Suspense, useCallback, useMemo, useState } from "react"

import type { CardKind } from "../charts/types"
import { later } from "../controls/later"
import { Empty, Loading } from "../controls/state"
import type { Frozen } from "../runs/data"
import { LiveMark } from "../runs/live-mark"
import { useMedia } from "../runs/media"
import { RunsPanel } from "../runs/panel"
import { ViewMenuOfRun } from "../runs/row-menu"
import { SelectionBar } from "../runs/selection-bar"
import { Toast } from "../runs/toast"
import { WorkspaceProvider } from "../runs/workspace-context"
import { useWorkspaceState } from "../runs/workspace-state"
import type { Share } from "./share"
import { AsOf, Shell } from "./shell"
import { useVisitorView } from "./visitor-view"

// The list is there first, and what draws comes after it.
const Charts = later(async () => (await import("../runs/charts")).Charts)

/** The runs that are shared, with their charts: arranged by the visitor, changed by nobody. */
export function VisitorWorkspace({ share }: { share: Share }) {
  const view = useVisitorView(share)
  const [atMs, setAtMs] = useState(share.is_live ? null : share.as_of_ms)
  const frozen = useMemo<Frozen>(() => ({ atMs, set: setAtMs }), [atMs])
  const state = useWorkspaceState(share.experiments, view, frozen)
  const isPhone = useMedia("(max-width: 767px)")
  const { shown } = share
  const compares = shown.params.length > 0 || shown.metrics.length > 0
  const hasPanel = useCallback(
    (kind: CardKind) => (kind === "media" ? shown.media : compares),
    [shown.media, compares],
  )
  return (
    <WorkspaceProvider value={state}>
      <Shell
        title={share.title}
        isPadded={false}
        about={
          <>
            <AsOf share={share} />
            {share.is_live && <LiveMark live={state.list.live} />}
          </>
        }
      >
        <div className={`w-workspace${isPhone ? " w-workspace-phone" : ""}`}>
          <RunsPanel
            isPhone={isPhone}
            bulk={<SelectionBar />}
            menu={ViewMenuOfRun}
            noRuns={<Empty>No run is shared here yet.</Empty>}
          />
          {!state.isTable && (
            <Suspense fallback={<Loading label="Loading the charts" />}>
              <Charts hasPanel={hasPanel} />
            </Suspense>
          )}
        </div>
        <Toast />
      </Shell>
    </WorkspaceProvider>
  )
}
