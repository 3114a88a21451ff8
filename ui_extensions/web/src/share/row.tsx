import { Fragment, useState } from "react"

import { useAsked } from "../api/use-answer"
import { Button } from "../controls/button"
import { Dialog } from "../controls/dialog"
import type { MenuItem } from "../controls/menu"
import { Menu } from "../controls/menu"
import { Empty, Failed, StateOf } from "../controls/state"
import { PlaceLink } from "../layout/link"
import type { Seen } from "../teams/api"
import { VisibilityWord } from "../teams/visibility"
import { ago, count, dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Made, Share, ShareAction } from "./api"
import { changeShare, readLog } from "./api"
import { MadeLink } from "./made-link"
import { sharesChanged } from "./shares"
import { scopeWords, shownWords, STATE_WORDS, untilWords } from "./words"

type Asked = "revoke" | "rotate" | "log" | null

/** One link in the list, with what can be done with it. */
export function ShareRow({
  share,
  sites,
  names,
  seen,
}: {
  share: Share
  /** Whose pages may show links in a frame. */
  sites: readonly string[]
  names: ReadonlyMap<string, string>
  seen: Seen | null
}) {
  const [asked, ask] = useState<Asked>(null)
  const [fault, setFault] = useState<Error | null>(null)
  const state = STATE_WORDS[share.state]
  const title = visible(share.title, NAME_LENGTH)
  const act = (action: ShareAction): void => {
    setFault(null)
    changeShare(share.id, action).then(sharesChanged, (failure: unknown) =>
      setFault(failure instanceof Error ? failure : new Error(String(failure))),
    )
  }
  const isOver = share.state === "revoked" || share.state === "expired"
  const items: MenuItem[] = [
    ...(share.state === "active"
      ? [{ label: "Pause", icon: "pause" as const, onSelect: () => act("pause") }]
      : []),
    ...(share.state === "paused"
      ? [{ label: "Let it work again", icon: "play" as const, onSelect: () => act("resume") }]
      : []),
    ...(isOver
      ? []
      : [
          { label: "New address…", icon: "refresh" as const, onSelect: () => ask("rotate") },
          { label: "Revoke…", icon: "trash" as const, onSelect: () => ask("revoke") },
        ]),
    { label: "Who looked…", icon: "eye" as const, isFirstOfGroup: !isOver, onSelect: () => ask("log") },
  ]
  return (
    <tr>
      <th scope="row" data-head="Link">
        <span className="w-share-title" dir="auto" title={visible(share.title)}>
          {title}
        </span>
        <span className="w-secondary">
          {scopeWords(share)} · {shownWords(share.shown)}
          {share.has_password && " · with a password"}
          {share.replaces_names && " · names replaced"}
        </span>
        <span className="w-share-of">
          {share.experiment_ids.slice(0, 3).map((id) => (
            <Fragment key={id}>
              <PlaceLink to={{ page: "workspace", experimentIds: [id] }}>
                {visible(names.get(id) ?? `experiment ${id}`, NAME_LENGTH)}
              </PlaceLink>
              <VisibilityWord of={seen} experimentId={id} />
            </Fragment>
          ))}
          {share.experiment_ids.length > 3 && `and ${count(share.experiment_ids.length - 3)} more`}
        </span>
        {fault && <Failed what="That was not done" error={fault} />}
      </th>
      <td data-head="State">
        <span className={`w-badge ${state.kind}`}>{state.word}</span>
      </td>
      <td data-head="Made" title={dateTime(share.created_ms)}>
        {ago(share.created_ms)}
        {share.created_by && ` by ${visible(share.created_by, 60)}`}
      </td>
      <td data-head="Ends" title={share.expires_ms === null ? undefined : dateTime(share.expires_ms)}>
        {untilWords(share.expires_ms)}
      </td>
      <td data-head="Visits" className="w-number">
        {count(share.hits)}
      </td>
      <td
        data-head="Last seen"
        title={share.last_seen_ms === null ? undefined : dateTime(share.last_seen_ms)}
      >
        {share.last_seen_ms === null ? "never" : ago(share.last_seen_ms)}
      </td>
      <td className="w-share-actions">
        {share.may_manage && (
          <Menu
            label={`Actions on ${visible(share.title, 80)}`}
            button={{
              icon: "more",
              isSmall: true,
              kind: "quiet",
              "aria-label": `Actions on ${visible(share.title, 80)}`,
            }}
            items={items}
          />
        )}
        {asked === "revoke" && <Revoke share={share} onClose={() => ask(null)} />}
        {asked === "rotate" && <Rotate share={share} sites={sites} onClose={() => ask(null)} />}
        {asked === "log" && <Log share={share} onClose={() => ask(null)} />}
      </td>
    </tr>
  )
}

function Revoke({ share, onClose }: { share: Share; onClose: () => void }) {
  const [fault, setFault] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)
  const revoke = async (): Promise<void> => {
    setBusy(true)
    try {
      await changeShare(share.id, "revoke")
      onClose()
      sharesChanged()
    } catch (failure) {
      setFault(failure instanceof Error ? failure : new Error(String(failure)))
      setBusy(false)
    }
  }
  return (
    <Dialog
      title={`Revoke “${visible(share.title, 80)}”?`}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Keep it</Button>
          <Button kind="danger" disabled={isBusy} onClick={() => void revoke()}>
            Revoke
          </Button>
        </>
      }
    >
      <p>
        From now on its address leads nowhere, for everybody and for good: a revoked link cannot be
        brought back. Pause it instead where it may be needed again.
      </p>
      {fault && <Failed what="It was not revoked" error={fault} />}
    </Dialog>
  )
}

function Rotate({ share, sites, onClose }: { share: Share; sites: readonly string[]; onClose: () => void }) {
  const [made, setMade] = useState<Made | null>(null)
  const [fault, setFault] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)
  const close = (): void => {
    onClose()
    if (made !== null) sharesChanged()
  }
  const rotate = async (): Promise<void> => {
    setBusy(true)
    try {
      const { share: changed, token } = await changeShare(share.id, "rotate")
      if (token === undefined) throw new Error("the server gave no address")
      setMade({ share: changed, token })
    } catch (failure) {
      setFault(failure instanceof Error ? failure : new Error(String(failure)))
      setBusy(false)
    }
  }
  return (
    <Dialog
      title={`A new address for “${visible(share.title, 80)}”`}
      onClose={close}
      footer={
        made === null && (
          <>
            <Button onClick={close}>Keep the old one</Button>
            <Button kind="primary" disabled={isBusy} onClick={() => void rotate()}>
              Make a new address
            </Button>
          </>
        )
      }
    >
      {made === null ? (
        <>
          <p>The address that was given away so far stops working at once; what is shared stays the same.</p>
          {fault && <Failed what="No new address was made" error={fault} />}
        </>
      ) : (
        <MadeLink made={made} sites={sites} onDone={close} />
      )}
    </Dialog>
  )
}

function Log({ share, onClose }: { share: Share; onClose: () => void }) {
  const answer = useAsked(share.id, (options) => readLog(share.id, options))
  return (
    <Dialog title={`Who looked at “${visible(share.title, 80)}”`} onClose={onClose}>
      <StateOf
        answer={answer}
        what="The log could not be read"
        isEmpty={(entries) => entries.length === 0}
        empty={<Empty>Nobody has opened it yet.</Empty>}
      >
        {(entries) => (
          <table className="w-kv w-share-log">
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">What</th>
                <th scope="col">From</th>
              </tr>
            </thead>
            <tbody>
              {entries.map((entry, at) => (
                <tr key={at}>
                  <td>{dateTime(entry.at_ms)}</td>
                  <td>{visible(entry.outcome, 80)}</td>
                  <td>{visible(entry.address, 80)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </StateOf>
    </Dialog>
  )
}
