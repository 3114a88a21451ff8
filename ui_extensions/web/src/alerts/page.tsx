import "../teams/teams.css"
import "../share/share.css"
import "./alerts.css"

import { useAnswer } from "../api/use-answer"
import { Failed, Loading } from "../controls/state"
import { Page } from "../layout/page"
import { ExperimentTabs, useNamedExperiment } from "../layout/experiment-tabs"
import type { ExperimentName } from "../layout/experiment-tabs"
import type { Targets } from "./api"
import { RaisedTab } from "./raised"
import { RulesTab } from "./rules"
import { SentTab } from "./sent"
import { TargetsTab } from "./targets"

const LABELS = { rules: "Rules", targets: "Targets", sent: "Deliveries", raised: "Alerts" }

/** What is an alert, where it is sent, and what became of it: of one experiment, or of all. */
export function AlertsPage() {
  const experimentId = useNamedExperiment()
  const experiments = useAnswer<{ experiments: readonly ExperimentName[] }>("experiments", {})
  const targets = useAnswer<Targets>("alerts/targets", {})
  const { data: known } = targets
  const failed = experiments.error ?? targets.error
  return (
    <Page id="/alerts" title="Alerts">
      {failed && (
        <Failed
          what={experiments.error ? "The experiments could not be listed" : "The targets could not be listed"}
          error={failed}
          onRetry={experiments.error ? experiments.retry : targets.retry}
        />
      )}
      {!failed && (experiments.data === null || known === null) && <Loading />}
      {experiments.data !== null && known !== null && (
        <ExperimentTabs page="alerts" all="all experiments" experiments={experiments.data.experiments} labels={LABELS}>
          {(tab) => (
            <>
              {tab === "rules" && <RulesTab key={experimentId} experimentId={experimentId} targets={known.targets} />}
              {tab === "targets" && <TargetsTab answer={known} onChanged={targets.retry} />}
              {tab === "sent" && <SentTab key={experimentId} experimentId={experimentId} />}
              {tab === "raised" && <RaisedTab key={experimentId} experimentId={experimentId} />}
            </>
          )}
        </ExperimentTabs>
      )}
    </Page>
  )
}
