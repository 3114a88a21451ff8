import { useEffect, useRef, useState } from "react"

import { isAbort } from "../api/client"
import { Failed, Skeleton } from "../controls/state"
import { count } from "../text/format"
import { visible } from "../text/visible"
import type { RunFacts } from "./facts"
import { isLive } from "./facts"
import type { History } from "./history"
import { readHistory } from "./history"
import { PanelChart } from "./panel-chart"
import type { PanelX } from "./panel-chart"
import type { Panel, Section } from "./panels"

const LIVE_MS = 5_000
const OPEN_PANELS = 50

/** Sections of panels; a panel's data is asked for when it comes into view. */
export function PanelSections({
  run,
  sections,
  x,
}: {
  run: RunFacts
  sections: readonly Section[]
  x: PanelX
}) {
  return (
    <>
      {sections.map((section) => (
        <details key={section.title} open={!section.isClosed && section.panels.length <= OPEN_PANELS}>
          <summary className="w-panel-section">
            <h2 className="w-section-title">
              {visible(section.title || "Metrics", 250)}{" "}
              <span className="w-secondary">{count(section.panels.length)}</span>
            </h2>
          </summary>
          <div className="w-panels">
            {section.panels.map((panel) => (
              <LoadedPanel key={panel.id} run={run} panel={panel} x={x} />
            ))}
          </div>
        </details>
      ))}
    </>
  )
}

function LoadedPanel({ run, panel, x }: { run: RunFacts; panel: Panel; x: PanelX }) {
  const box = useRef<HTMLDivElement>(null)
  const [isNear, setNear] = useState(false)
  const [histories, setHistories] = useState<ReadonlyMap<string, History> | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const [attempt, setAttempt] = useState(0)
  useEffect(() => {
    const shown = box.current
    if (!shown) return
    const observer = new IntersectionObserver(
      (entries) => setNear(entries.some((entry) => entry.isIntersecting)),
      { rootMargin: "200px" },
    )
    observer.observe(shown)
    return () => observer.disconnect()
  }, [])
  const live = isLive(run)
  const keysText = JSON.stringify(panel.lines.map((line) => line.key))
  useEffect(() => {
    if (!isNear) return
    const abort = new AbortController()
    const keys = JSON.parse(keysText) as string[]
    const read = async (): Promise<void> => {
      try {
        const found = await Promise.all(
          keys.map((key) => readHistory(run.id, key, { signal: abort.signal })),
        )
        setHistories(new Map(keys.map((key, at) => [key, found[at] as History])))
        setError(null)
      } catch (failed) {
        if (!isAbort(failed)) setError(failed as Error)
      }
    }
    void read()
    if (!live) return () => abort.abort()
    const timer = window.setInterval(() => {
      if (!document.hidden) void read()
    }, LIVE_MS)
    return () => {
      window.clearInterval(timer)
      abort.abort()
    }
  }, [isNear, run.id, keysText, live, attempt])
  return (
    <div ref={box} className="w-panel-slot">
      {histories ? (
        <PanelChart
          panel={panel}
          histories={histories}
          x={x}
          originMs={run.start_ms ?? 0}
          group={`run-${run.id}-${x}`}
        />
      ) : error ? (
        <Failed
          what={`${visible(panel.title, 100)} could not be read`}
          error={error}
          onRetry={() => setAttempt((n) => n + 1)}
        />
      ) : (
        <Skeleton height={240} />
      )}
    </div>
  )
}
