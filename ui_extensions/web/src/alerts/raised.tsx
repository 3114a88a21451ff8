import { useAnswer } from "../api/use-answer"
import { Empty, StateOf } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { Alert } from "./api"
import { LEVEL_BADGES } from "./api"

const LIMIT = 500

/** What trainings and rules had to say of an experiment's runs, the newest first. */
export function RaisedTab({ experimentId }: { experimentId: string | null }) {
  const question = { experiment_id: experimentId, limit: LIMIT }
  const answer = useAnswer<{ alerts: readonly Alert[] }>(experimentId === null ? null : "alerts", question)
  if (experimentId === null) return <Empty>Choose an experiment: what was raised of its runs is listed here.</Empty>
  return (
    <StateOf
      answer={answer}
      what="The alerts could not be listed"
      isEmpty={({ alerts }) => alerts.length === 0}
      empty={<Empty>Neither a training nor a rule has raised anything.</Empty>}
    >
      {({ alerts }) => (
        <table className="w-kv w-teams-table">
          <thead>
            <tr>
              <th scope="col">Alert</th>
              <th scope="col">Level</th>
              <th scope="col">When</th>
              <th scope="col">Run</th>
            </tr>
          </thead>
          <tbody>
            {alerts.map((one) => (
              <tr key={one.id}>
                <th scope="row" data-head="Alert">
                  <span className="w-teams-name" dir="auto">
                    {visible(one.title, 250)}
                  </span>
                  {one.text && <span className="w-secondary w-alerts-text">{visible(one.text, 600)}</span>}
                </th>
                <td data-head="Level">
                  <span className={`w-badge${LEVEL_BADGES[one.level]}`}>{one.level}</span>
                </td>
                <td data-head="When" className="w-teams-when">
                  {dateTime(one.at_ms)}
                </td>
                <td data-head="Run">
                  <PlaceLink to={{ page: "run", runId: one.run_id, tab: "overview" }}>{one.run_id.slice(0, 8)}</PlaceLink>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </StateOf>
  )
}
