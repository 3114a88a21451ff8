import { useState } from "react"

import { call } from "../api/client"
import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import { Empty, Failed, StateOf } from "../controls/state"
import { dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Entry } from "./api"
import type { ExperimentName } from "../layout/experiment-tabs"
import { refusal, useDeed } from "./parts"

const ACTIONS: readonly (readonly [string, string])[] = [
  ["visibility", "Visibility"],
  ["permission", "Permissions"],
  ["link", "Links"],
  ["publish", "Pages published"],
  ["report", "Reports"],
  ["invite", "Invitations"],
  ["account", "Service accounts"],
  ["user", "Users"],
  ["role", "Roles"],
  ["run", "Runs stopped, deleted, restored, moved"],
  ["experiment", "Experiments deleted, restored"],
  ["rule", "Alert rules"],
  ["target", "Alert targets"],
]

interface Entries {
  readonly entries: readonly Entry[]
  readonly more: boolean
}

/** `level: private, was: team`. */
function detailWords(detail: Entry["detail"]): string {
  return Object.entries(detail)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) =>
      name.endsWith("_ms") && typeof value === "number"
        ? `${name.slice(0, -3)}: ${dateTime(value)}`
        : `${name}: ${Array.isArray(value) ? value.join(", ") : String(value)}`,
    )
    .join(", ")
}

/** Who did what: of an experiment, or of all of this server. */
export function AuditTab({
  experimentId,
  experiments,
}: {
  experimentId: string | null
  experiments: readonly ExperimentName[]
}) {
  const [who, setWho] = useState("")
  const [action, setAction] = useState("")
  const question = {
    experiment_id: experimentId,
    who: who.trim() || null,
    action: action || null,
  }
  const answer = useAnswer<Entries>("audit", question)
  const [older, setOlder] = useState<{ of: string; entries: readonly Entry[]; more: boolean } | null>(null)
  const { isBusy, fault, run } = useDeed()
  const refused = refusal(
    answer,
    experimentId === null
      ? "All of this server is for administrators. Choose an experiment that is yours."
      : "Who may delete this experiment reads its log: ask its owner.",
  )
  if (refused) return refused
  const of = JSON.stringify(question)
  const rest = older?.of === of ? older : null
  return (
    <>
      <form className="w-teams-form" aria-label="Filter" onSubmit={(event) => event.preventDefault()}>
        <label>
          By{" "}
          <input
            className="w-input"
            placeholder="Anybody"
            spellCheck={false}
            autoComplete="off"
            value={who}
            onChange={(event) => setWho(event.target.value)}
          />
        </label>
        <label>
          What{" "}
          <select className="w-input" value={action} onChange={(event) => setAction(event.target.value)}>
            <option value="">Everything</option>
            {ACTIONS.map(([id, label]) => (
              <option key={id} value={id}>
                {label}
              </option>
            ))}
          </select>
        </label>
      </form>
      {fault && <Failed what="No more could be read" error={fault} />}
      <StateOf
        answer={answer}
        what="The audit log could not be read"
        isEmpty={({ entries }) => entries.length === 0}
        empty={<Empty>Nothing of that was done yet.</Empty>}
      >
        {(data) => {
          const shown = [...data.entries, ...(rest?.entries ?? [])]
          const last = shown[shown.length - 1]
          return (
            <>
              <table className="w-kv w-teams-table">
                <thead>
                  <tr>
                    <th scope="col">When</th>
                    <th scope="col">Who</th>
                    <th scope="col">What</th>
                    <th scope="col">To</th>
                    <th scope="col">From</th>
                  </tr>
                </thead>
                <tbody>
                  {shown.map((one) => (
                    <tr key={one.id}>
                      <td data-head="When" className="w-teams-when">
                        {dateTime(one.at_ms)}
                      </td>
                      <th scope="row" data-head="Who">
                        <span className="w-teams-name" dir="auto">
                          {one.who === "" ? "somebody" : visible(one.who, NAME_LENGTH)}
                        </span>
                      </th>
                      <td data-head="What">
                        {visible(one.action, 60)}
                        <span className="w-secondary">{visible(detailWords(one.detail), 300)}</span>
                      </td>
                      <td data-head="To">
                        <span className="w-teams-name" dir="auto" title={visible(one.target)}>
                          {visible(one.target, 40)}
                        </span>
                        {one.experiment_id !== null && experimentId === null && (
                          <span className="w-secondary">
                            {visible(
                              experiments.find((of) => of.id === one.experiment_id)?.name ??
                                `experiment ${one.experiment_id}`,
                              NAME_LENGTH,
                            )}
                          </span>
                        )}
                      </td>
                      <td data-head="From">{visible(one.address, 64)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
              {(rest === null ? data.more : rest.more) && last !== undefined && (
                <Button
                  isSmall
                  disabled={isBusy}
                  onClick={() =>
                    run(async () => {
                      const next = await call<Entries>("audit", { ...question, before: last.id })
                      setOlder({ of, entries: [...(rest?.entries ?? []), ...next.entries], more: next.more })
                    })
                  }
                >
                  Older
                </Button>
              )}
            </>
          )
        }}
      </StateOf>
    </>
  )
}
