/** A panel as a reader sees it: the runs it is about, live or frozen, and what is shown of them. */

import type { ReactNode } from "react"
import { createContext, Suspense, useContext, useEffect, useRef, useState } from "react"

import { ApiError } from "../api/client"
import { later } from "../controls/later"
import { ErrorBoundary, Failed, Loading } from "../controls/state"
import { AsOf } from "../data/as-of"
import { count, dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Panel } from "./document"
import { PANEL_WORDS } from "./document"
import { usePanelRuns } from "./panel-runs"

const PanelCharts = later(async () => (await import("./panel-charts")).PanelCharts)
const PanelTable = later(async () => (await import("./panel-tables")).PanelTable)
const PanelComparison = later(async () => (await import("./panel-tables")).PanelComparison)
const PanelCode = later(async () => (await import("./panel-code")).PanelCode)
const MediaPanels = later(async () => (await import("../charts/media-panels")).MediaPanels)

/** Show all panels, also those that nobody has scrolled to: for print and export. */
export const ShowsAll = createContext(false)

const NEAR_PX = 600

/** Its own height where it was seen before, so that nothing moves. */
const HEIGHTS: Partial<Record<Panel["kind"], number>> = { charts: 340, runs: 260, compare: 260, media: 240, code: 200 }

/** What stands in a panel's head; it may need the server's clock minus the browser's. */
type Actions = ReactNode | ((clockMs: number) => ReactNode)

export function PanelView({ panel, actions }: { panel: Panel; actions?: Actions }) {
  const box = useRef<HTMLDivElement>(null)
  const isForced = useContext(ShowsAll)
  const [isNear, setNear] = useState(false)
  const [width, setWidth] = useState(0)
  useEffect(() => {
    const shown = box.current
    if (shown === null) return
    const sizes = new ResizeObserver(() => setWidth(Math.floor(shown.clientWidth)))
    sizes.observe(shown)
    setWidth(Math.floor(shown.clientWidth))
    const nearness = new IntersectionObserver(
      (entries) => entries.some((one) => one.isIntersecting) && setNear(true),
      { rootMargin: `${NEAR_PX}px` },
    )
    nearness.observe(shown)
    return () => {
      sizes.disconnect()
      nearness.disconnect()
    }
  }, [])
  const isShown = (isNear || isForced) && width > 0
  const title = panel.title ? visible(panel.title, NAME_LENGTH) : PANEL_WORDS[panel.kind]
  return (
    <div ref={box} className="w-panel" role="group" aria-label={title} data-kind={panel.kind}>
      <AsOf.Provider value={panel.runs.at}>
        <ErrorBoundary what={title} resetKey={JSON.stringify(panel)}>
          {isShown ? (
            <Shown panel={panel} width={width} title={title} actions={actions} />
          ) : (
            <div style={{ height: HEIGHTS[panel.kind] }} />
          )}
        </ErrorBoundary>
      </AsOf.Provider>
    </div>
  )
}

function Shown({ panel, width, title, actions }: { panel: Panel; width: number; title: string; actions?: Actions }) {
  const found = usePanelRuns(panel.runs, panel.kind === "runs" ? panel.columns : undefined)
  const { list, runs, matching } = found
  const { at } = panel.runs
  const n = runs.length
  const isRefused = list.error instanceof ApiError && [401, 403, 404].includes(list.error.status)
  return (
    <>
      <header className="w-panel-head">
        <span className={`w-panel-title${panel.title ? "" : " w-secondary"}`} dir="auto">
          {title}
        </span>
        <span className="w-secondary">
          {list.isFirst ? "" : n < matching ? `${count(n)} of ${count(matching)} runs` : `${count(n)} ${n === 1 ? "run" : "runs"}`}
          {" · "}
          {at === null ? "live" : <span title="Runs and points as of then">frozen at {dateTime(at).slice(0, 16)}</span>}
          {list.live.isFailing && " · the server does not answer"}
        </span>
        {actions && (
          <span className="w-panel-actions">
            {typeof actions === "function" ? actions(list.clockMs) : actions}
          </span>
        )}
      </header>
      {isRefused ? (
        <p className="w-panel-note">Not shared with you: you may not see these runs, or they are gone.</p>
      ) : list.error ? (
        <Failed what="The runs could not be read" error={list.error} onRetry={list.refresh} />
      ) : list.fault ? (
        <p className="w-panel-note w-text-bad">The filter of this panel cannot be read: {list.fault.message}.</p>
      ) : list.isFirst || (matching > 0 && n === 0) ? (
        <Loading label={`Loading: ${title}`} rows={5} />
      ) : n === 0 ? (
        <p className="w-panel-note">No run matches{panel.runs.filter ? <> <code>{visible(panel.runs.filter, 200)}</code></> : ""}.</p>
      ) : (
        <Suspense fallback={<Loading label={`Loading: ${title}`} rows={5} />}>
          {panel.kind === "charts" && <PanelCharts panel={panel} found={found} width={width} />}
          {panel.kind === "runs" && <PanelTable panel={panel} found={found} />}
          {panel.kind === "compare" && <PanelComparison panel={panel} found={found} />}
          {panel.kind === "media" && <MediaPanels runs={runs} width={width} only={panel.keys ?? []} />}
          {panel.kind === "code" && <PanelCode runs={runs} />}
        </Suspense>
      )}
    </>
  )
}
