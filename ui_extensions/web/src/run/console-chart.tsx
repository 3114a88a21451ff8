import { useMemo, useState } from "react"

import { Failed, Skeleton } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { dateTime } from "../text/format"
import { visible } from "../text/visible"
import { steppedMetric } from "./bands"
import type { RunFacts } from "./facts"
import { useHistories, useRunNews } from "./history"
import { PanelChart } from "./panel-chart"

const HEIGHT = 110
const MOST_NAMED = 500

/**
 * A metric over the time in which the console was printed: the line that is marked below is marked
 * here, and a click leads to the lines of that moment.
 */
export function ConsoleChart({
  run,
  markMs,
  onPick,
}: {
  run: RunFacts
  markMs: number | null
  onPick: (atMs: number) => void
}) {
  useRunNews(run)
  const [chosen, setChosen] = useState<string | null>(null)
  const keys = useMemo(() => run.metrics.map((metric) => metric.key), [run.metrics])
  const key = chosen !== null && keys.includes(chosen) ? chosen : (steppedMetric(run) ?? keys[0])
  const { histories, error, retry } = useHistories(run, key === undefined ? [] : [key], "time", true)
  const panel = useMemo(
    () => ({ id: "console", title: "", unit: "", lines: [{ key: key ?? "", label: visible(key ?? "", 120) }] }),
    [key],
  )
  if (key === undefined) return null
  return (
    <section className="w-console-chart" aria-label="Chart of the console’s time">
      <div className="w-row">
        <select
          className="w-input"
          aria-label="Metric"
          value={key}
          onChange={(event) => setChosen(event.target.value)}
        >
          {keys.slice(0, MOST_NAMED).map((one) => (
            <option key={one} value={one}>
              {visible(one, 120)}
            </option>
          ))}
        </select>
        {markMs === null ? (
          <span className="w-secondary">
            Click a line’s number, or the chart, to see one beside the other.
          </span>
        ) : (
          <span role="status">
            {dateTime(markMs)}{" "}
            <PlaceLink
              to={{ page: "run", runId: run.id, tab: "charts" }}
              query={new URLSearchParams({ t: String(markMs) })}
            >
              on all charts
            </PlaceLink>
          </span>
        )}
      </div>
      {error ? (
        <Failed what="The metric could not be read" error={error} onRetry={retry} />
      ) : histories === null ? (
        <Skeleton height={HEIGHT} />
      ) : (
        <PanelChart
          panel={panel}
          histories={histories}
          x="time"
          originMs={run.start_ms ?? 0}
          group={`console-${run.id}`}
          height={HEIGHT}
          markMs={markMs}
          onPick={onPick}
        />
      )}
    </section>
  )
}
