import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import { Empty, StateOf } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { refusal } from "../teams/parts"
import { ago, dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { Delivery } from "./api"

const LIMIT = 500
const STATES: Readonly<Record<string, readonly [word: string, badge: string]>> = {
  sent: ["Sent", " w-badge-ok"],
  waiting: ["Waits", " w-badge-warn"],
  sending: ["Is being sent", ""],
  failed: ["Given up", " w-badge-bad"],
}

/** What was sent, what waits, and why something was not taken. */
export function SentTab({ experimentId }: { experimentId: string | null }) {
  const of = experimentId === null ? {} : { experiment_id: experimentId }
  const answer = useAnswer<{ deliveries: readonly Delivery[] }>("alerts/log", { ...of, limit: LIMIT })
  const refused = refusal(
    answer,
    experimentId === null
      ? "Deliveries of all experiments are an administrator’s to see: choose an experiment."
      : "Who may edit this experiment sees what was sent.",
  )
  if (refused) return refused
  return (
    <StateOf
      answer={answer}
      what="The deliveries could not be listed"
      isEmpty={({ deliveries }) => deliveries.length === 0}
      empty={<Empty>Nothing was sent yet.</Empty>}
    >
      {({ deliveries }) => (
        <>
          <div className="w-share-tools">
            <Button isSmall icon="refresh" onClick={answer.retry}>
              Look again
            </Button>
            {deliveries.length === LIMIT && <span className="w-secondary">The last {LIMIT}</span>}
          </div>
          <table className="w-kv w-teams-table">
            <thead>
              <tr>
                <th scope="col">Alert</th>
                <th scope="col">To</th>
                <th scope="col">State</th>
                <th scope="col">Last try</th>
                <th scope="col">Run</th>
              </tr>
            </thead>
            <tbody>
              {deliveries.map((one) => {
                const [word, badge] = STATES[one.state] ?? [visible(one.state, 40), ""]
                return (
                  <tr key={one.delivery_id}>
                    <th scope="row" data-head="Alert">
                      <span className="w-teams-name" dir="auto">
                        {visible(one.title, 250)}
                      </span>
                    </th>
                    <td data-head="To">
                      <span className="w-teams-name">{visible(one.target, 100)}</span>
                    </td>
                    <td data-head="State">
                      <span className={`w-badge${badge}`}>{word}</span>
                      <span className="w-secondary">{visible(one.told, 200)}</span>
                    </td>
                    <td data-head="Last try" title={one.tried_ms === null ? undefined : dateTime(one.tried_ms)}>
                      {one.tried_ms === null ? "not yet" : ago(one.tried_ms)}
                      <span className="w-secondary">
                        {one.n_tries > 1 && `${one.n_tries} tries`}
                        {one.due_ms !== null && ` next ${dateTime(one.due_ms)}`}
                      </span>
                    </td>
                    <td data-head="Run">
                      <PlaceLink to={{ page: "run", runId: one.run_id, tab: "overview" }}>
                        {one.run_id.slice(0, 8)}
                      </PlaceLink>
                    </td>
                  </tr>
                )
              })}
            </tbody>
          </table>
        </>
      )}
    </StateOf>
  )
}
