import { useState } from "react"

import { call } from "../api/client"
import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import { HeadedTable } from "../controls/headed-table"
import { Empty, Failed, StateOf } from "../controls/state"
import { addressOf } from "../share/shares"
import { ago, dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Invite, Permission } from "./api"
import type { ExperimentName } from "../layout/experiment-tabs"
import { refusal, ToldOnce, useDeed } from "./parts"

const DAY_MS = 86_400_000
const DAYS = [1, 7, 30] as const
const STATES: Readonly<Record<Invite["state"], { word: string; kind: string }>> = {
  open: { word: "Open", kind: "w-badge-ok" },
  used: { word: "Used", kind: "" },
  expired: { word: "Over", kind: "w-badge-warn" },
  revoked: { word: "Taken back", kind: "w-badge-bad" },
}

/** Links by which somebody becomes a user, once. */
export function InvitesTab({
  experimentId,
  experiments,
}: {
  experimentId: string | null
  experiments: readonly ExperimentName[]
}) {
  const answer = useAnswer<{ invites: readonly Invite[] }>("invites", {})
  const { isBusy, fault, run } = useDeed()
  const [note, setNote] = useState("")
  const [permission, setPermission] = useState<Permission>("READ")
  const [days, setDays] = useState<number>(7)
  const [token, setToken] = useState<string | null>(null)
  const refused = refusal(answer, "Who may make users of MLflow’s invites them: ask an administrator.")
  if (refused) return refused
  const nameOf = (id: string): string =>
    visible(experiments.find((one) => one.id === id)?.name ?? `experiment ${id}`, NAME_LENGTH)
  return (
    <>
      <form
        className="w-teams-form"
        aria-label="Invite somebody"
        onSubmit={(event) => {
          event.preventDefault()
          run(async () => {
            const of = experimentId === null ? {} : { experiment_id: experimentId, permission }
            const asked = { ...of, note, expires_ms: Date.now() + days * DAY_MS }
            const made = await call<{ token: string }>("invites/create", asked)
            setToken(made.token)
            setNote("")
            answer.retry()
          })
        }}
      >
        <label>
          For whom{" "}
          <input
            className="w-input"
            placeholder="A note for you"
            maxLength={250}
            value={note}
            onChange={(event) => setNote(event.target.value)}
          />
        </label>
        {experimentId !== null && (
          <label>
            who may{" "}
            <select
              className="w-input"
              value={permission}
              onChange={(event) => setPermission(event.target.value as Permission)}
            >
              <option value="READ">read</option>
              <option value="EDIT">edit</option>
              <option value="MANAGE">manage</option>
            </select>{" "}
            <span className="w-cut">{nameOf(experimentId)}</span>
          </label>
        )}
        <label>
          within{" "}
          <select className="w-input" value={days} onChange={(event) => setDays(Number(event.target.value))}>
            {DAYS.map((one) => (
              <option key={one} value={one}>
                {one === 1 ? "1 day" : `${one} days`}
              </option>
            ))}
          </select>
        </label>
        <Button kind="primary" type="submit" disabled={isBusy}>
          Make an invitation
        </Button>
      </form>
      {fault && <Failed what="That was not done" error={fault} />}
      {token !== null && (
        <ToldOnce
          title="An invitation"
          label="The link, shown this once"
          text={addressOf(token)}
          onDone={() => setToken(null)}
        >
          <p>
            Whoever opens it first chooses a name and a password, and is a user then. It works once: send
            it to one person alone.
          </p>
        </ToldOnce>
      )}
      <StateOf
        answer={answer}
        what="The invitations could not be listed"
        isEmpty={({ invites }) => invites.length === 0}
        empty={<Empty>Nobody is invited.</Empty>}
      >
        {({ invites }) => (
          <HeadedTable heads={["For", "State", "Made", "Ends"]}>
            {invites.map((one) => (
              <tr key={one.id}>
                <th scope="row" data-head="For">
                  <span className="w-teams-name" dir="auto">
                    {one.note === "" ? "Somebody" : visible(one.note, NAME_LENGTH)}
                  </span>
                  {one.experiment_id !== null && (
                    <span className="w-secondary">
                      {(one.permission ?? "").toLowerCase()} {nameOf(one.experiment_id)}
                    </span>
                  )}
                </th>
                <td data-head="State">
                  <span className={`w-badge ${STATES[one.state].kind}`}>{STATES[one.state].word}</span>
                  {one.used_by !== null && ` by ${visible(one.used_by, 60)}`}
                </td>
                <td data-head="Made" title={dateTime(one.created_ms)}>
                  {ago(one.created_ms)} by {visible(one.created_by, 60)}
                </td>
                <td data-head="Ends">{dateTime(one.expires_ms)}</td>
                <td>
                  {one.state === "open" && (
                    <Button
                      isSmall
                      icon="close"
                      disabled={isBusy}
                      onClick={() =>
                        run(async () => {
                          await call("invites/revoke", { id: one.id })
                          answer.retry()
                        })
                      }
                    >
                      Take back
                    </Button>
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
