import "../run/run.css"

import type { ComponentType } from "react"
import { Suspense, useEffect, useId, useMemo } from "react"

import { useAnswer } from "../api/use-answer"
import { later } from "../controls/later"
import { ErrorBoundary, Loading, StateOf } from "../controls/state"
import { Tabs } from "../controls/tabs"
import type { RunTab } from "../grammar"
import { PlaceLink } from "../layout/link"
import { go, linkTo } from "../router"
import type { RunFacts } from "../run/facts"
import { isLive } from "../run/facts"
import { Status } from "../run/status"
import { duration } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Share } from "./share"
import { hasCharts } from "./share"
import { AsOf, Shell } from "./shell"
import type { VisitorTabProps } from "./tab-props"
import { listQuery } from "./visitor-view"

const LIVE_MS = 5_000

interface VisitorTab {
  readonly id: RunTab
  readonly label: string
  readonly isShown: (share: Share) => boolean
  readonly Shown: ComponentType<VisitorTabProps>
}

const TABS: readonly VisitorTab[] = [
  {
    id: "overview",
    label: "Overview",
    isShown: () => true,
    Shown: later(async () => (await import("./overview")).Overview),
  },
  {
    id: "charts",
    label: "Charts",
    isShown: hasCharts,
    Shown: later(async () => (await import("../run/run-charts")).RunCharts),
  },
  {
    id: "hardware",
    label: "Hardware",
    isShown: ({ shown }) => shown.hardware,
    Shown: later(async () => (await import("../run/hardware")).Hardware),
  },
  {
    id: "console",
    label: "Console",
    isShown: ({ shown }) => shown.console,
    Shown: later(async () => (await import("../run/console")).Console),
  },
  {
    id: "code",
    label: "Code",
    isShown: ({ shown }) => shown.code || shown.patch || shown.command || shown.host,
    Shown: later(async () => (await import("./code")).Code),
  },
  {
    id: "gradients",
    label: "Gradients",
    isShown: ({ shown }) => shown.histograms,
    Shown: later(async () => (await import("../run/gradients")).Gradients),
  },
  {
    id: "media",
    label: "Media",
    isShown: ({ shown }) => shown.media,
    Shown: later(async () => (await import("./media")).Media),
  },
  {
    id: "files",
    label: "Files",
    isShown: ({ shown }) => shown.files,
    Shown: later(async () => (await import("../run/files")).Files),
  },
]

// What is not shared is not in the answer.
const NOTHING = {
  name: "",
  experiment_id: "1",
  experiment_name: "",
  stage: "active",
  user: "",
  tags: {},
  params: [],
  metrics: [],
  n_metrics: 0,
  n_params: 0,
  may_edit: false,
}

/** One run, as far as it is shared. */
export function VisitorRun({
  share,
  runId,
  tab,
}: {
  share: Share
  runId: string
  tab: RunTab
}) {
  const answer = useAnswer<RunFacts>("run", { run_id: runId })
  const { data, isLoading, retry } = answer
  const run = useMemo<RunFacts | null>(() => data && { ...NOTHING, ...data }, [data])
  const isOpen = share.is_live && run !== null && isLive(run)
  useEffect(() => {
    // To ask again gives up the answer that is under way: a slow server would never get to give one.
    if (!isOpen || isLoading) return
    const timer = window.setInterval(() => {
      if (!document.hidden) retry()
    }, LIVE_MS)
    return () => window.clearInterval(timer)
  }, [isOpen, isLoading, retry])
  const panelId = useId()
  const tabs = TABS.filter((one) => one.isShown(share))
  const selected = tabs.find((one) => one.id === tab) ?? tabs[0]
  const name = run === null ? "" : run.name || run.id
  const isAlone = share.kind === "run"
  return (
    <Shell
      title={share.title}
      about={
        <>
          <AsOf share={share} />
          {!isAlone && (
            <PlaceLink to={{ page: "home" }} query={listQuery()}>
              {share.report ? "To the report" : "All runs"}
            </PlaceLink>
          )}
        </>
      }
    >
      <StateOf answer={{ ...answer, data: run }} what="The run could not be read">
        {(facts) => (
          <div className="w-run">
            <div className="w-run-about">
              <h2 className="w-visit-run" dir="auto" title={visible(name)}>
                {visible(name, NAME_LENGTH)}
              </h2>
              <Status run={facts} hasCause={selected?.id !== "overview"} />
              <span className="w-secondary">
                {duration((facts.end_ms ?? facts.now_ms) - (facts.start_ms ?? facts.now_ms))}
                {facts.user && ` · ${visible(facts.user, 60)}`}
              </span>
            </div>
            {tabs.length > 1 && (
              <Tabs
                label="Views of this run"
                panelId={panelId}
                selected={selected?.id ?? "overview"}
                onSelect={(id) => go({ page: "run", runId, tab: id })}
                tabs={tabs.map(({ id, label }) => ({
                  id,
                  label,
                  href: linkTo({ page: "run", runId, tab: id }),
                }))}
              />
            )}
            {selected && (
              <div
                className={`w-run-panel w-run-panel-${selected.id}`}
                id={panelId}
                tabIndex={-1}
                {...(tabs.length > 1 && {
                  role: "tabpanel",
                  "aria-labelledby": `${panelId}-${selected.id}`,
                })}
              >
                <ErrorBoundary what={`The tab ${selected.label}`} resetKey={selected.id}>
                  <Suspense fallback={<Loading />}>
                    <selected.Shown run={facts} shown={share.shown} onChanged={retry} />
                  </Suspense>
                </ErrorBoundary>
              </div>
            )}
          </div>
        )}
      </StateOf>
    </Shell>
  )
}
