import { PlaceLink } from "../layout/link"
import { Alerts } from "./alerts"
import { Notes } from "./notes"
import { CauseBanner, Facts, LastLines, Metrics, Params } from "./overview-parts"
import type { TabProps } from "./tab-props"
import { Tags } from "./tags"

/** What a run is and was, on one screen. */
export function Overview({ run, onChanged }: TabProps) {
  return (
    <div className="w-overview">
      <CauseBanner run={run}>
        <PlaceLink to={{ page: "run", runId: run.id, tab: "console" }}>The console's end</PlaceLink>
      </CauseBanner>
      <Alerts run={run} />
      <div className="w-overview-columns">
        <div className="w-overview-main">
          <Notes run={run} onChanged={onChanged} />
          <Metrics run={run} />
          <LastLines run={run} />
        </div>
        <div className="w-overview-side">
          <Facts run={run} />
          <Params run={run} />
          <Tags run={run} onChanged={onChanged} />
        </div>
      </div>
    </div>
  )
}
