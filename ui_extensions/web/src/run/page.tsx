import "./run.css"

import { Suspense, useEffect, useId } from "react"

import { useAnswer } from "../api/use-answer"
import { IconButton } from "../controls/button"
import { CopyButton } from "../controls/copy"
import { later } from "../controls/later"
import { ErrorBoundary, Loading, StateOf } from "../controls/state"
import { Tabs } from "../controls/tabs"
import type { RunTab } from "../grammar"
import { RUN_TABS } from "../grammar"
import { PlaceLink } from "../layout/link"
import { StockLink } from "../layout/stock-link"
import { Page } from "../layout/page"
import { usePaletteSource } from "../palette/commands"
import { go, goStock, linkTo, shareableLink, useRoute } from "../router"
import { ShareButton } from "../share/button"
import { VisibilityBadge } from "../teams/badge"
import { runScope } from "../share/scopes"
import { duration } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { RunFacts } from "./facts"
import { isLive, tag } from "./facts"
import { Status } from "./status"

const LIVE_MS = 3_000
const LABELS: Record<RunTab, string> = {
  overview: "Overview",
  charts: "Charts",
  hardware: "Hardware",
  console: "Console",
  code: "Code",
  gradients: "Gradients",
  media: "Media",
  files: "Files",
}

const TABS = {
  overview: later(async () => (await import("./overview")).Overview),
  charts: later(async () => (await import("./charts")).Charts),
  hardware: later(async () => (await import("./hardware")).Hardware),
  console: later(async () => (await import("./console")).Console),
  code: later(async () => (await import("./code")).Code),
  gradients: later(async () => (await import("./gradients")).Gradients),
  media: later(async () => (await import("./media")).Media),
  files: later(async () => (await import("./files")).Files),
}

/** One run: its state and why, and eight views of it. */
export function RunPage({ runId, tab }: { runId: string; tab: RunTab }) {
  const answer = useAnswer<RunFacts>("run", { run_id: runId })
  const { data: run, isLoading, retry } = answer
  const isOpen = run !== null && isLive(run)
  useEffect(() => {
    // To ask again gives up the answer that is under way: a slow server would never get to give one.
    if (!isOpen || isLoading) return
    const timer = window.setInterval(() => {
      if (!document.hidden) retry()
    }, LIVE_MS)
    return () => window.clearInterval(timer)
  }, [isOpen, isLoading, retry])
  const panelId = useId()
  const { query } = useRoute()
  usePaletteSource({
    ...(run && { experimentIds: [run.experiment_id] }),
    showMetric: (key) => go({ page: "run", runId, tab: "charts" }, new URLSearchParams({ c: key })),
    commands: [
      ...RUN_TABS.map((id) => ({
        label: `${LABELS[id]} of this run`,
        run: () => go({ page: "run", runId, tab: id }),
      })),
      ...(run
        ? [
            {
              label: "Workspace of its experiment",
              run: () => go({ page: "workspace", experimentIds: [run.experiment_id] }),
            },
            {
              label: "Open in MLflow",
              run: () => goStock(`/experiments/${run.experiment_id}/runs/${run.id}`),
            },
          ]
        : []),
    ],
  })
  const title = run === null ? "Run" : run.name || run.id
  const Shown = TABS[tab]
  return (
    <Page
      id={`/r/${runId}`}
      title={title}
      crumbs={
        run
          ? [
              {
                key: "experiment",
                content: (
                  <PlaceLink to={{ page: "workspace", experimentIds: [run.experiment_id] }}>
                    {visible(run.experiment_name, NAME_LENGTH)}
                  </PlaceLink>
                ),
              },
              {
                key: "runs",
                content: <StockLink to={`/experiments/${run.experiment_id}/runs`}>Runs</StockLink>,
              },
            ]
          : []
      }
      beside={
        run && (
          <>
            <div className="w-run-about">
              <Status run={run} hasCause={tab !== "overview"} />
              <span className="w-secondary">
                {duration((run.end_ms ?? run.now_ms) - (run.start_ms ?? run.now_ms))}
                {run.user && ` · ${visible(run.user, 60)}`}
                {tag(run, "weir.host") && ` · ${visible(tag(run, "weir.host") ?? "", 60)}`}
              </span>
              {run.stage === "deleted" && <span className="w-badge w-badge-warn">Deleted</span>}
            </div>
            <VisibilityBadge experimentId={run.experiment_id} name={run.experiment_name} />
          </>
        )
      }
      actions={
        run && (
          <>
            <IconButton
              icon="external"
              label="Open this run in MLflow"
              onClick={() => goStock(`/experiments/${run.experiment_id}/runs/${run.id}`)}
            />
            <CopyButton
              label="Copy the link to this page"
              text={shareableLink({ page: "run", runId, tab }, query)}
            />
            <ShareButton isLed mayShare={run.may_edit} scopes={() => [runScope(run)]} />
          </>
        )
      }
    >
      <StateOf answer={answer} what="The run could not be read" loading={<Loading rows={10} />}>
        {(facts) => (
          <div className="w-run">
            <Tabs
              label="Views of this run"
              panelId={panelId}
              selected={tab}
              onSelect={(id) => go({ page: "run", runId, tab: id })}
              tabs={RUN_TABS.map((id) => ({
                id,
                label: LABELS[id],
                href: linkTo({ page: "run", runId, tab: id }),
              }))}
            />
            <div
              className={`w-run-panel w-run-panel-${tab}`}
              id={panelId}
              role="tabpanel"
              aria-labelledby={`${panelId}-${tab}`}
              tabIndex={-1}
            >
              <ErrorBoundary what={`The tab ${LABELS[tab]}`} resetKey={tab}>
                <Suspense fallback={<Loading />}>
                  <Shown key={runId} run={facts} onChanged={retry} />
                </Suspense>
              </ErrorBoundary>
            </div>
          </div>
        )}
      </StateOf>
    </Page>
  )
}
