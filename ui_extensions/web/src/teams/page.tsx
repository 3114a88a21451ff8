import "./teams.css"
import "../share/share.css"

import { useAnswer } from "../api/use-answer"
import { Icon } from "../controls/icon"
import { Empty, Failed, Loading } from "../controls/state"
import { Page } from "../layout/page"
import { ExperimentTabs, useNamedExperiment } from "../layout/experiment-tabs"
import type { ExperimentName } from "../layout/experiment-tabs"
import { AccountsTab } from "./accounts"
import { AuditTab } from "./audit"
import { InvitesTab } from "./invites"
import { PeopleTab } from "./people"
import { NO_LOGIN, useVisibility } from "./visibility"

const LABELS = { people: "People", invites: "Invitations", accounts: "Service accounts", audit: "Audit log" }

/** MLflow's users, and what they may: of one experiment, or of all of this server. */
export function TeamsPage() {
  const experimentId = useNamedExperiment()
  const experiments = useAnswer<{ experiments: readonly ExperimentName[] }>("experiments", {})
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
          <ExperimentTabs page="teams" all="all of this server" experiments={found} labels={LABELS}>
            {(tab) => (
              <>
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
              </>
            )}
          </ExperimentTabs>
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
