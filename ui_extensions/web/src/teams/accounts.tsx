import { useState } from "react"

import { call } from "../api/client"
import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import { HeadedTable } from "../controls/headed-table"
import { Empty, Failed, StateOf } from "../controls/state"
import { ago, dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Account } from "./api"
import type { ExperimentName } from "../layout/experiment-tabs"
import { refusal, ToldOnce, useDeed } from "./parts"

/** Users who are jobs: their experiments, and their passwords, each shown once. */
export function AccountsTab({
  experimentId,
  experiments,
}: {
  experimentId: string | null
  experiments: readonly ExperimentName[]
}) {
  const answer = useAnswer<{ accounts: readonly Account[] }>("accounts", {})
  const { isBusy, fault, run } = useDeed()
  const [name, setName] = useState("")
  const [note, setNote] = useState("")
  const [told, tell] = useState<{ name: string; password: string } | null>(null)
  const refused = refusal(answer, "Who may make users of MLflow’s makes service accounts: ask an administrator.")
  if (refused) return refused
  const nameOf = (id: string): string =>
    visible(experiments.find((one) => one.id === id)?.name ?? `experiment ${id}`, NAME_LENGTH)
  const change = (account: Account, action: "rotate" | "disable"): void =>
    run(async () => {
      const made = await call<{ password?: string }>("accounts/change", { name: account.name, action })
      if (made.password !== undefined) tell({ name: account.name, password: made.password })
      answer.retry()
    })
  return (
    <>
      <form
        className="w-teams-form"
        aria-label="Make a service account"
        onSubmit={(event) => {
          event.preventDefault()
          run(async () => {
            const made = await call<{ password: string }>("accounts/create", {
              name: name.trim(),
              note,
              experiment_ids: experimentId === null ? [] : [experimentId],
            })
            tell({ name: name.trim(), password: made.password })
            setName("")
            setNote("")
            answer.retry()
          })
        }}
      >
        <label>
          Name{" "}
          <input
            className="w-input"
            placeholder="nightly-training"
            maxLength={100}
            autoComplete="off"
            spellCheck={false}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
        </label>
        <label>
          for{" "}
          <input
            className="w-input"
            placeholder="A note for you"
            maxLength={250}
            value={note}
            onChange={(event) => setNote(event.target.value)}
          />
        </label>
        <span className="w-secondary w-cut">
          {experimentId === null
            ? "of no experiment yet: choose one above"
            : `edits ${nameOf(experimentId)}`}
        </span>
        <Button kind="primary" type="submit" disabled={isBusy || name.trim() === ""}>
          Make it
        </Button>
      </form>
      {fault && <Failed what="That was not done" error={fault} />}
      {told !== null && (
        <ToldOnce
          title={`Service account ${visible(told.name, 80)}`}
          label="Its password, shown this once"
          text={told.password}
          onDone={() => tell(null)}
        >
          <p>
            The job signs in with MLFLOW_TRACKING_USERNAME={visible(told.name, 80)} and this as
            MLFLOW_TRACKING_PASSWORD. The server keeps no copy of it.
          </p>
        </ToldOnce>
      )}
      <StateOf
        answer={answer}
        what="The service accounts could not be listed"
        isEmpty={({ accounts }) => accounts.length === 0}
        empty={<Empty>There is no service account. A training job gets one of its own here.</Empty>}
      >
        {({ accounts }) => (
          <HeadedTable heads={["Name", "Experiments", "Password"]}>
            {accounts.map((one) => (
              <tr key={one.name}>
                <th scope="row" data-head="Name">
                  <span className="w-teams-name">{visible(one.name, NAME_LENGTH)}</span>
                  <span className="w-badge">Job</span>
                  {one.disabled_ms !== null && <span className="w-badge w-badge-warn">Disabled</span>}
                  {!one.is_there && <span className="w-badge w-badge-bad">Deleted in MLflow</span>}
                  <span className="w-secondary">
                    {one.note !== "" && `${visible(one.note, NAME_LENGTH)} · `}made by{" "}
                    {visible(one.created_by, 60)}
                  </span>
                </th>
                <td data-head="Experiments">
                  {one.experiments.length === 0
                    ? "None"
                    : one.experiments
                        .map((of) => `${of.permission.toLowerCase()} ${nameOf(of.id)}`)
                        .join(", ")}
                </td>
                <td data-head="Password" title={dateTime(one.rotated_ms)}>
                  {one.disabled_ms !== null ? `disabled ${ago(one.disabled_ms)}` : ago(one.rotated_ms)}
                </td>
                <td className="w-teams-actions">
                  {one.is_there && (
                    <>
                      <Button isSmall icon="refresh" disabled={isBusy} onClick={() => change(one, "rotate")}>
                        New password
                      </Button>
                      {one.disabled_ms === null && (
                        <Button isSmall icon="stop" disabled={isBusy} onClick={() => change(one, "disable")}>
                          Disable
                        </Button>
                      )}
                    </>
                  )}
                </td>
              </tr>
            ))}
          </HeadedTable>
        )}
      </StateOf>
    </>
  )
}
