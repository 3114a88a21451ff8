import "./teams.css"
import "../share/share.css"

import { useAnswer } from "../api/use-answer"
import { Icon } from "../controls/icon"
import { Empty, Failed, Loading } from "../controls/state"
import { Tabs } from "../controls/tabs"
import { Page } from "../layout/page"
import { linkTo, setQuery, useRoute } from "../router"
import { visible } from "../text/visible"
import { AccountsTab } from "./accounts"
import { AuditTab } from "./audit"
import { InvitesTab } from "./invites"
import { PeopleTab } from "./people"
import { NO_LOGIN, useVisibility } from "./visibility"

const TABS = ["people", "invites", "accounts", "audit"] as const
type TabId = (typeof TABS)[number]

const LABELS: Readonly<Record<TabId, string>> = {
  people: "People",
  invites: "Invitations",
  accounts: "Service accounts",
  audit: "Audit log",
}
const EXPERIMENT = /^[0-9]{1,24}$/
const PANEL = "w-teams-panel"

export interface ExperimentName {
  readonly id: string
  readonly name: string
}

/** MLflow's users, and what they may: of one experiment, or of all of this server. */
export function TeamsPage() {
  const { query } = useRoute()
  const named = query.get("e") ?? ""
  const experimentId = EXPERIMENT.test(named) ? named : null
  const asked = query.get("tab") as TabId
  const tab = TABS.includes(asked) ? asked : "people"
  const experiments = useAnswer<{ experiments: readonly ExperimentName[] }>("experiments", {})
  const to = (id: TabId, e: string | null): URLSearchParams => {
    const next = new URLSearchParams()
    if (e !== null) next.set("e", e)
    if (id !== "people") next.set("tab", id)
    return next
  }
  const found = experiments.data?.experiments ?? []
  return (
    <Page id="/teams" title="Teams">
      {experiments.error && (
        <Failed
          what="The experiments could not be listed"
          error={experiments.error}
          onRetry={experiments.retry}
        />
      )}
      {experiments.data === null && !experiments.error && <Loading />}
      {experiments.data !== null && (
        <>
          <NoLogin experimentId={experimentId ?? found[0]?.id ?? null} />
          <div className="w-share-tools">
            <label className="w-teams-of">
              Of{" "}
              <select
                className="w-input"
                value={experimentId ?? ""}
                onChange={(event) => setQuery(to(tab, event.target.value || null))}
              >
                <option value="">all of this server</option>
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
            label="Of teams"
            panelId={PANEL}
            selected={tab}
            onSelect={(id) => setQuery(to(id, experimentId))}
            tabs={TABS.map((id) => ({
              id,
              label: LABELS[id],
              href: linkTo({ page: "teams" }, to(id, experimentId)),
            }))}
          />
          <div
            className="w-teams-panel"
            id={PANEL}
            role="tabpanel"
            aria-labelledby={`${PANEL}-${tab}`}
            tabIndex={-1}
          >
            {tab === "people" &&
              (experimentId === null ? (
                <Empty>Choose an experiment: who may see it, and why, is listed here.</Empty>
              ) : (
                <PeopleTab key={experimentId} experimentId={experimentId} />
              ))}
            {tab === "invites" && <InvitesTab experimentId={experimentId} experiments={found} />}
            {tab === "accounts" && <AccountsTab experimentId={experimentId} experiments={found} />}
            {tab === "audit" && (
              <AuditTab key={experimentId} experimentId={experimentId} experiments={found} />
            )}
          </div>
        </>
      )}
    </Page>
  )
}

function NoLogin({ experimentId }: { experimentId: string | null }) {
  const { data } = useVisibility(experimentId === null ? [] : [experimentId])
  if (data === null || data.has_login) return null
  return (
    <p className="w-share-policy" role="note">
      <Icon name="warning" /> {NO_LOGIN}
    </p>
  )
}
