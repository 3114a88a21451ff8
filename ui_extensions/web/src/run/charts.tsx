import { PlaceLink } from "../layout/link"
import { Moment } from "./chart-moment"
import { WithReports } from "../reports/add"
import { runSet } from "../reports/document"
import type { TabProps } from "./tab-props"
import { RunCharts } from "./run-charts"

/** A run's own curves, with the ways to its console and to other runs. */
export function Charts({ run }: TabProps) {
  const runs = runSet([run.experiment_id], { ids: [run.id], most: 1 })
  return (
    <WithReports mayEdit={run.may_edit} sets={() => [{ label: "This run", runs }]} clockMs={run.now_ms - Date.now()}>
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
    </WithReports>
  )
}
