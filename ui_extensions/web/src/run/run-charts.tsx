import type { ReactNode, RefObject } from "react"
import { useEffect, useMemo, useRef, useState } from "react"

import { ChartGrid } from "../charts/grid"
import { ChartToolbar } from "../charts/toolbar"
import type { ChartSettings, DrawnRun } from "../charts/types"
import { DEFAULT_SETTINGS, EMPTY_LAYOUT } from "../charts/types"
import { Button } from "../controls/button"
import { SearchBox } from "../controls/input"
import { Empty } from "../controls/state"
import { hoverState } from "../charts/hover"
import { useRoute } from "../router"
import { useTheme } from "../theme"
import type { RunFacts } from "./facts"
import { isLive } from "./facts"

// The first run colour of each theme.
const COLOUR = { light: "#2272b4", dark: "#4299e0" }

/** A run's own curves: the workspace's grid, of one run. */
export function RunCharts({
  run,
  beside,
}: {
  run: RunFacts
  /** In the line of the settings, given what holds the charts and a moment that the URL names (ms). */
  beside?: (grid: RefObject<HTMLElement | null>, wantedMs: number | null) => ReactNode
}) {
  const theme = useTheme()
  const { query } = useRoute()
  // A link may lead to the charts of one metric.
  const wanted = query.get("c") ?? ""
  const [search, setSearch] = useState(wanted)
  useEffect(() => setSearch(wanted), [wanted])
  // The console may have led here: to what was logged at a line's time.
  const wantedMs = Number(query.get("t") ?? Number.NaN)
  const isLed = Number.isFinite(wantedMs)
  const [settings, setSettings] = useState<ChartSettings>(
    isLed ? { ...DEFAULT_SETTINGS, x: "wall" } : DEFAULT_SETTINGS,
  )
  useEffect(() => {
    if (isLed) hoverState.move({ axis: "wall", x: wantedMs })
  }, [isLed, wantedMs])
  const grid = useRef<HTMLDivElement>(null)
  const [layout, setLayout] = useState(EMPTY_LAYOUT)
  const [isAdding, add] = useState(false)
  const drawn = useMemo(
    (): DrawnRun[] => [
      {
        id: run.id,
        name: run.name,
        ordinal: 0,
        colour: COLOUR[theme],
        dash: 0,
        status: run.status,
        startMs: run.start_ms,
        endMs: run.end_ms,
        isVisible: true,
        experimentId: run.experiment_id,
      },
    ],
    [run.id, run.name, run.status, run.start_ms, run.end_ms, run.experiment_id, theme],
  )
  const experimentIds = useMemo(() => [run.experiment_id], [run.experiment_id])
  const keys = useMemo(() => run.metrics.map((metric) => metric.key), [run.metrics])
  const change = (patch: Partial<ChartSettings>): void => setSettings((now) => ({ ...now, ...patch }))
  if (run.n_metrics === 0) {
    return <Empty>No metric was logged yet. The first one appears here by itself.</Empty>
  }
  return (
    <>
      <div className="w-toolbar">
        <SearchBox label="Search charts" value={search} onChange={setSearch} />
        <ChartToolbar settings={settings} onSettings={change} keys={keys} />
        <Button icon="plus" onClick={() => add(true)}>
          Add panel
        </Button>
        {beside?.(grid, isLed ? wantedMs : null)}
      </div>
      <div ref={grid} className="w-run-grid">
        <ChartGrid
        experimentIds={experimentIds}
        runs={drawn}
        settings={settings}
        onSettings={change}
        layout={layout}
        onLayout={setLayout}
        search={search}
        raised={null}
        onRaise={nothing}
        isAdding={isAdding}
        onAdded={() => add(false)}
        live={isLive(run)}
        />
      </div>
    </>
  )
}

function nothing(): void {
  // There is no list beside these charts to raise a run in.
}
