import { PlaceLink } from "../layout/link"
import { Moment } from "./chart-moment"
import type { TabProps } from "./page"
import { RunCharts } from "./run-charts"

/** A run's own curves, with the ways to its console and to other runs. */
export function Charts({ run }: TabProps) {
  return (
    <RunCharts
      run={run}
      beside={(grid, wantedMs) => (
        <>
          <Moment run={run} within={grid} wantedMs={wantedMs} />
          <PlaceLink to={{ page: "workspace", experimentIds: [run.experiment_id] }}>
            Beside other runs
          </PlaceLink>
        </>
      )}
    />
  )
}
