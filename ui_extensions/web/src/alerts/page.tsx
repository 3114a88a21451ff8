import "../teams/teams.css"
import "../share/share.css"
import "./alerts.css"

import { useAnswer } from "../api/use-answer"
import { Failed, Loading } from "../controls/state"
import { Tabs } from "../controls/tabs"
import { Page } from "../layout/page"
import { linkTo, setQuery, useRoute } from "../router"
import type { ExperimentName } from "../teams/page"
import { visible } from "../text/visible"
import type { Targets } from "./api"
import { RaisedTab } from "./raised"
import { RulesTab } from "./rules"
import { SentTab } from "./sent"
import { TargetsTab } from "./targets"

const TABS = ["rules", "targets", "sent", "raised"] as const
type TabId = (typeof TABS)[number]

const LABELS: Readonly<Record<TabId, string>> = {
  rules: "Rules",
  targets: "Targets",
  sent: "Deliveries",
  raised: "Alerts",
}
const EXPERIMENT = /^[0-9]{1,24}$/
const PANEL = "w-alerts-panel"

/** What is an alert, where it is sent, and what became of it: of one experiment, or of all. */
export function AlertsPage() {
  const { query } = useRoute()
  const named = query.get("e") ?? ""
  const experimentId = EXPERIMENT.test(named) ? named : null
  const asked = query.get("tab") as TabId
  const tab = TABS.includes(asked) ? asked : "rules"
  const experiments = useAnswer<{ experiments: readonly ExperimentName[] }>("experiments", {})
  const targets = useAnswer<Targets>("alerts/targets", {})
  const to = (id: TabId, e: string | null): URLSearchParams => {
    const next = new URLSearchParams()
    if (e !== null) next.set("e", e)
    if (id !== "rules") next.set("tab", id)
    return next
  }
  const found = experiments.data?.experiments ?? []
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
      {!failed && (experiments.data === null || targets.data === null) && <Loading />}
      {experiments.data !== null && targets.data !== null && (
        <>
          <div className="w-share-tools">
            <label className="w-teams-of">
              Of{" "}
              <select
                className="w-input"
                value={experimentId ?? ""}
                onChange={(event) => setQuery(to(tab, event.target.value || null))}
              >
                <option value="">all experiments</option>
                {experimentId !== null && !found.some((one) => one.id === experimentId) && (
                  <option value={experimentId}>{`experiment ${experimentId}`}</option>
                )}
                {found.map((one) => (
                  <option key={one.id} value={one.id}>
                    {visible(one.name, 80)}
                  </option>
                ))}
              </select>
            </label>
          </div>
          <Tabs
            label="Of alerts"
            panelId={PANEL}
            selected={tab}
            onSelect={(id) => setQuery(to(id, experimentId))}
            tabs={TABS.map((id) => ({ id, label: LABELS[id], href: linkTo({ page: "alerts" }, to(id, experimentId)) }))}
          />
          <div
            className="w-teams-panel"
            id={PANEL}
            role="tabpanel"
            aria-labelledby={`${PANEL}-${tab}`}
            tabIndex={-1}
          >
            {tab === "rules" && <RulesTab key={experimentId} experimentId={experimentId} targets={targets.data.targets} />}
            {tab === "targets" && <TargetsTab answer={targets.data} onChanged={targets.retry} />}
            {tab === "sent" && <SentTab key={experimentId} experimentId={experimentId} />}
            {tab === "raised" && <RaisedTab key={experimentId} experimentId={experimentId} />}
          </div>
        </>
      )}
    </Page>
  )
}
