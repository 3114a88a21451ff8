import { useEffect, useMemo, useRef, useState } from "react"

import { Failed, Skeleton } from "../controls/state"
import { count } from "../text/format"
import { visible } from "../text/visible"
import type { Band } from "./bands"
import { shareOf, throttledBands } from "./bands"
import type { RunFacts } from "./facts"
import type { PanelX } from "./history"
import { useHistories } from "./history"
import { PanelChart } from "./panel-chart"
import type { Panel, Section } from "./panels"

const OPEN_PANELS = 50

/** Sections of panels; a panel's data is asked for when it comes into view. */
export function PanelSections({
  run,
  sections,
  x,
  phases,
}: {
  run: RunFacts
  sections: readonly Section[]
  x: PanelX
  /** Shown in every panel. */
  phases: readonly Band[]
}) {
  return (
    <>
      {sections.map((section) => (
        <PanelSection key={section.title} run={run} section={section} x={x} phases={phases} />
      ))}
    </>
  )
}

function PanelSection({
  run,
  section,
  x,
  phases,
}: {
  run: RunFacts
  section: Section
  x: PanelX
  phases: readonly Band[]
}) {
  const signals = useHistories(run, section.throttleKeys ?? [], "time", x === "time")
  const found = signals.histories
  const throttled = useMemo(() => throttledBands([...(found?.values() ?? [])]), [found])
  const bands = useMemo(() => [...throttled, ...phases], [throttled, phases])
  const share = shareOf(throttled, [...(found?.values() ?? [])])
  return (
    <details open={!section.isClosed && section.panels.length <= OPEN_PANELS}>
      <summary className="w-panel-section">
        <h2 className="w-section-title">
          {visible(section.title || "Metrics", 250)}{" "}
          <span className="w-secondary">{count(section.panels.length)}</span>
        </h2>
        {throttled.length > 0 && (
          <span className="w-badge w-badge-warn">
            slowed down {share < 0.01 ? "under 1" : Math.round(100 * share)} % of the time
          </span>
        )}
      </summary>
      <div className="w-panels">
        {section.panels.map((panel) => (
          <LoadedPanel key={panel.id} run={run} panel={panel} x={x} bands={bands} />
        ))}
      </div>
    </details>
  )
}

function LoadedPanel({
  run,
  panel,
  x,
  bands,
}: {
  run: RunFacts
  panel: Panel
  x: PanelX
  bands: readonly Band[]
}) {
  const box = useRef<HTMLDivElement>(null)
  const [isNear, setNear] = useState(false)
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
  const keys = panel.lines.map((line) => line.key)
  const { histories, error, retry } = useHistories(run, keys, x, isNear)
  return (
    <div ref={box} className="w-panel-slot">
      {histories ? (
        <PanelChart
          panel={panel}
          histories={histories}
          x={x}
          originMs={run.start_ms ?? 0}
          group={`run-${run.id}-${x}`}
          bands={bands}
        />
      ) : error ? (
        <Failed
          what={`${visible(panel.title, 100)} could not be read`}
          error={error}
          onRetry={retry}
        />
      ) : (
        <Skeleton height={240} />
      )}
    </div>
  )
}
