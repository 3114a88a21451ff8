import { useState } from "react"

import { call } from "../api/client"
import { PAGES } from "../addresses"
import { Button } from "../controls/button"
import { HeadedTable } from "../controls/headed-table"
import { Empty, Failed } from "../controls/state"
import { ToldOnce, useDeed } from "../teams/parts"
import { ago, dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { Target, Targets } from "./api"

const KINDS: Readonly<Record<Target["kind"], string>> = {
  webhook: "Webhook (JSON)",
  slack: "Slack, or what takes the same",
  email: "E-mail",
}

/** Where alerts may be sent: an administrator's to change. */
export function TargetsTab({ answer, onChanged }: { answer: Targets; onChanged: () => void }) {
  return (
    <>
      {answer.may_edit ? (
        <NewTarget hasMail={answer.has_mail} onAdded={onChanged} />
      ) : (
        <p className="w-secondary">Where alerts may be sent is an administrator’s to say.</p>
      )}
      {answer.targets.length === 0 ? (
        <Empty>Alerts are shown on the runs’ pages, and sent nowhere: there is no target.</Empty>
      ) : (
        <HeadedTable heads={["Name", "Kind", "Where", "Made"]}>
          {answer.targets.map((one) => (
            <Row key={one.id} target={one} mayEdit={answer.may_edit} onChanged={onChanged} />
          ))}
        </HeadedTable>
      )}
    </>
  )
}

function Row({ target, mayEdit, onChanged }: { target: Target; mayEdit: boolean; onChanged: () => void }) {
  const { isBusy, fault, run } = useDeed()
  const [told, setTold] = useState("")
  const [asked, ask] = useState<"delete" | "key" | null>(null)
  const [key, setKey] = useState<string | null>(null)
  const name = visible(target.name, 100)
  const isUnsigned = target.kind === "webhook" && !target.is_signed
  const change = (action: "pause" | "resume" | "delete" | "key"): void =>
    run(async () => {
      const changed = await call<{ key?: string }>("alerts/targets/change", { id: target.id, action })
      ask(null)
      setKey(changed.key ?? null)
      onChanged()
    })
  const test = (): void => {
    setTold("")
    run(async () => {
      const found = await call<{ is_sent: boolean; told: string }>("alerts/targets/change", {
        id: target.id,
        action: "test",
      })
      setTold(`${found.is_sent ? "Sent" : "Not sent"}: ${visible(found.told, 200)}`)
    })
  }
  return (
    <tr>
      <th scope="row" data-head="Name">
        <span className="w-teams-name" dir="auto">
          {name}
        </span>
        {target.is_paused && <span className="w-badge w-badge-warn">Paused</span>}
        {isUnsigned && (
          <span
            className="w-badge w-badge-warn"
            title="It was added before Weir signed: whoever takes it cannot tell that it comes from this server"
          >
            Not signed
          </span>
        )}
        {told && (
          <span className="w-secondary" role="status">
            {told}
          </span>
        )}
        {fault && <Failed what="That was not done" error={fault} />}
        {key !== null && <SigningKey name={name} text={key} onDone={() => setKey(null)} />}
      </th>
      <td data-head="Kind">{KINDS[target.kind]}</td>
      <td data-head="Where">
        <span className="w-teams-name">{visible(target.place, 300)}</span>
      </td>
      <td data-head="Made" title={dateTime(target.created_ms)}>
        {ago(target.created_ms)}
        {target.created_by && ` by ${visible(target.created_by, 60)}`}
      </td>
      <td className="w-teams-actions">
        {mayEdit &&
          (asked === "delete" ? (
            <>
              <Button isSmall kind="danger" disabled={isBusy} onClick={() => change("delete")}>
                Delete {name}
              </Button>
              <Button isSmall onClick={() => ask(null)}>
                Keep it
              </Button>
            </>
          ) : asked === "key" ? (
            <>
              <Button isSmall kind="danger" disabled={isBusy} onClick={() => change("key")}>
                End the key of {name}
              </Button>
              <Button isSmall onClick={() => ask(null)}>
                Keep it
              </Button>
            </>
          ) : (
            <>
              <Button isSmall disabled={isBusy} onClick={test} aria-label={`Send a test to ${name}`}>
                Test
              </Button>
              <Button isSmall disabled={isBusy} onClick={() => change(target.is_paused ? "resume" : "pause")}>
                {target.is_paused ? "Resume" : "Pause"}
              </Button>
              {target.kind === "webhook" && (
                <Button isSmall disabled={isBusy} onClick={() => (isUnsigned ? change("key") : ask("key"))}>
                  {isUnsigned ? "Sign" : "New key…"}
                </Button>
              )}
              <Button isSmall icon="trash" disabled={isBusy} onClick={() => ask("delete")}>
                Delete…
              </Button>
            </>
          ))}
      </td>
    </tr>
  )
}

function NewTarget({ hasMail, onAdded }: { hasMail: boolean; onAdded: () => void }) {
  const { isBusy, fault, run } = useDeed()
  const [name, setName] = useState("")
  const [kind, setKind] = useState<Target["kind"]>("webhook")
  const [where, setWhere] = useState("")
  const [key, setKey] = useState<string | null>(null)
  const isMail = kind === "email"
  return (
    <form
      className="w-teams-form"
      aria-label="Add a target"
      onSubmit={(event) => {
        event.preventDefault()
        run(async () => {
          const recipients = where.split(/[\s,;]+/).filter((one) => one !== "")
          const made = await call<{ key?: string }>("alerts/targets/change", {
            action: "add",
            name: name.trim(),
            kind,
            base: new URL("..", PAGES).href.replace(/\/$/, ""),
            ...(isMail ? { recipients } : { url: where.trim() }),
          })
          setKey(made.key ?? null)
          setName("")
          setWhere("")
          onAdded()
        })
      }}
    >
      <label>
        Name{" "}
        <input className="w-input" maxLength={100} value={name} onChange={(event) => setName(event.target.value)} />
      </label>
      <label>
        Kind{" "}
        <select
          className="w-input"
          value={kind}
          onChange={(event) => {
            setKind(event.target.value as Target["kind"])
            setWhere("")
          }}
        >
          {Object.entries(KINDS).map(([id, words]) => (
            <option key={id} value={id}>
              {words}
            </option>
          ))}
        </select>
      </label>
      <label className="w-alerts-where">
        {isMail ? "To" : "Address"}{" "}
        <input
          className="w-input"
          // Who knows a webhook's address may write there.
          type={isMail ? "text" : "password"}
          autoComplete="off"
          spellCheck={false}
          maxLength={4_000}
          placeholder={isMail ? "ada@example.com, bob@example.com" : "https://…"}
          value={where}
          onChange={(event) => setWhere(event.target.value)}
        />
      </label>
      <Button kind="primary" type="submit" disabled={isBusy || name.trim() === "" || where.trim() === ""}>
        Add the target
      </Button>
      {isMail && !hasMail && (
        <p className="w-secondary">This server has no mail server yet (WEIR_SMTP, WEIR_SMTP_FROM): mail waits until then.</p>
      )}
      {fault && <Failed what="No target was added" error={fault} />}
      {key !== null && <SigningKey name="A webhook" text={key} onDone={() => setKey(null)} />}
    </form>
  )
}

function SigningKey({ name, text, onDone }: { name: string; text: string; onDone: () => void }) {
  return (
    <ToldOnce title={name} label="Its signing key, shown this once" text={text} onDone={onDone}>
      <p>
        What it gets is signed with this key, as Standard Webhooks says: whoever takes it can tell that it comes from
        this server.
      </p>
    </ToldOnce>
  )
}
