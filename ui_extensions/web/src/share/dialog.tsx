import "./share.css"

import { useEffect, useId, useMemo, useState } from "react"

import { useAsked } from "../api/use-answer"
import { Button } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { Icon } from "../controls/icon"
import { Checkbox } from "../controls/input"
import { Failed, Loading } from "../controls/state"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Candidates, Made, Shares, Shown } from "./api"
import { createShare, EVERY, findCandidates, KEYED, PARTS } from "./api"
import { hasTexts } from "./cut-view"
import type { Draft, Scope } from "./draft"
import { daysOffered, isOpenScope, newDraft, shareOf, usualTitle } from "./draft"
import { KeyPicker } from "./key-picker"
import { MadeLink } from "./made-link"
import { Preview } from "./preview"
import { sharesChanged, useShares } from "./shares"
import { warningsOf } from "./warnings"
import { PART_WORDS, runsWord, shownWords } from "./words"

const KEY_TITLES = { metrics: "Metrics", params: "Params", tags: "Tags" } as const

/** Make a link for anyone: what it shows is ticked one by one, and seen before it is made. */
export function ShareDialog({
  scopes,
  onClose,
}: {
  /** What can be shared from here; the first is chosen. */
  scopes: readonly Scope[]
  onClose: () => void
}) {
  const server = useShares(scopes[0]?.meant.experiment_ids[0] ?? null)
  const title = `Share “${visible(scopes[0]?.title ?? "", 80)}”`
  return (
    <Dialog title={title} className="w-share" onClose={onClose}>
      {server.data !== null ? (
        <Form scopes={scopes} server={server.data} onClose={onClose} />
      ) : server.error ? (
        <Failed what="Links could not be read" error={server.error} onRetry={server.retry} />
      ) : (
        <Loading label="Loading" rows={10} />
      )}
    </Dialog>
  )
}

/** For who was led here and may not. */
export function RefusedDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Share" onClose={onClose} footer={<Button onClick={onClose}>Close it</Button>}>
      <p>
        Who may edit an experiment may share it. You may read this one: ask its owner to share it, or
        for the permission to edit it.
      </p>
    </Dialog>
  )
}

function Form({
  scopes,
  server,
  onClose,
}: {
  scopes: readonly Scope[]
  server: Shares
  onClose: () => void
}) {
  const maxDays = server.max_days ?? null
  const [draft, setDraft] = useState<Draft>(() => newDraft(maxDays))
  const [at, setAt] = useState(0)
  const [made, setMade] = useState<Made | null>(null)
  const [fault, setFault] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)
  const scope = scopes[at] ?? scopes[0]
  const change = (patch: Partial<Draft>): void => setDraft((before) => ({ ...before, ...patch }))
  const show = (patch: Partial<Shown>): void =>
    setDraft((before) => ({ ...before, shown: { ...before.shown, ...patch } }))
  const meant = JSON.stringify(scope?.meant)
  const candidates = useAsked(meant, (options) =>
    findCandidates(JSON.parse(meant) as Scope["meant"], options),
  )
  const isReport = scope?.kind === "report"
  const foundMetrics = candidates.data?.metrics
  useEffect(() => {
    // The charts are what the report is made of: they are shown unless somebody takes them out.
    if (isReport && foundMetrics) show({ metrics: foundMetrics.map((one) => one.key) })
  }, [isReport, foundMetrics])
  const preview = useMemo(
    () => (scope === undefined ? null : shareOf(scope, draft, true, 0)),
    // How long it lives and its password are nothing that a preview shows.
    [scope, draft.title, draft.isLive, draft.shown, draft.replacesNames],
  )
  if (scope === undefined || preview === null) return null
  if (made !== null) return <MadeLink made={made} sites={server.embed ?? []} onDone={onClose} />
  const isOff = server.policy === "off"
  const create = async (): Promise<void> => {
    setBusy(true)
    setFault(null)
    try {
      setMade(await createShare(shareOf(scope, draft, false, Date.now())))
      sharesChanged()
    } catch (failure) {
      setFault(failure instanceof Error ? failure : new Error(String(failure)))
    } finally {
      setBusy(false)
    }
  }
  const isPasswordMissing = draft.password !== null && draft.password === ""
  return (
    <div className="w-share-columns">
      <form
        className="w-share-form"
        aria-label="What is shared"
        onSubmit={(event) => {
          event.preventDefault()
          void create()
        }}
      >
        <Policy server={server} />
        <Title scope={scope} draft={draft} onChange={change} />
        <What scopes={scopes} at={at} onChoose={setAt} />
        {isReport && (
          <p className="w-secondary">
            Visitors see what was published last, whole: its words, formulas and pictures, never the comments. Of its panels
            they see the runs that are in them now, and what is ticked here.
          </p>
        )}
        {candidates.data?.is_frozen ? (
          <p className="w-secondary">Panels of it are frozen, and so is the link: later points are not in it.</p>
        ) : (
          <Data scope={scope} draft={draft} onChange={change} />
        )}
        {candidates.error && (
          <Failed
            what="What there is to share could not be read"
            error={candidates.error}
            onRetry={candidates.retry}
          />
        )}
        {candidates.data === null && !candidates.error && <Loading rows={5} />}
        {candidates.data && (
          <Fields
            candidates={candidates.data}
            hasTexts={hasTexts(scope.view)}
            shown={draft.shown}
            onShow={show}
            mayEvery={!isReport && (isOpenScope(scope) || draft.isLive)}
          />
        )}
        <Checkbox
          label="Replace the runs’ names by “Run 1”, “Run 2”…"
          isChecked={draft.replacesNames}
          onChange={(replacesNames) => change({ replacesNames })}
        />
        <Until draft={draft} days={daysOffered(maxDays)} onChange={change} />
        <Warnings
          words={warningsOf(draft.shown, draft.isLive, isOpenScope(scope))}
        />
        {fault && <Failed what="No link was made" error={fault} />}
        <div className="w-share-foot">
          <p className="w-secondary" role="status">
            {candidates.data && `${runsWord(candidates.data.n_runs)} · ${shownWords(draft.shown)}`}
          </p>
          <Button kind="primary" type="submit" icon="link" disabled={isBusy || isOff || isPasswordMissing}>
            Create link
          </Button>
        </div>
      </form>
      <Preview share={preview} />
    </div>
  )
}

function Policy({ server }: { server: Shares }) {
  const words =
    server.policy === "off"
      ? "Links are switched off on this server (WEIR_PUBLIC_LINKS=off): who runs it decides."
      : server.policy === "authenticated"
        ? "On this server links open for those alone who can sign in to it."
        : server.has_login
          ? null
          : "This server has no login; everything is already visible to whoever can reach it."
  if (words === null) return null
  return (
    <p className="w-share-policy" role="note">
      <Icon name="warning" /> {words}
    </p>
  )
}

function Title({
  scope,
  draft,
  onChange,
}: {
  scope: Scope
  draft: Draft
  onChange: (patch: Partial<Draft>) => void
}) {
  const id = useId()
  return (
    <div className="w-share-field">
      <label htmlFor={id}>Title</label>
      <input
        id={id}
        className="w-input"
        maxLength={NAME_LENGTH}
        placeholder={visible(usualTitle(scope, draft), NAME_LENGTH)}
        value={draft.title}
        aria-describedby={`${id}-hint`}
        onChange={(event) => onChange({ title: event.target.value })}
      />
      <p id={`${id}-hint`} className="w-secondary">
        Visitors see it, and chats that show a card of the link; with a password only visitors.
      </p>
    </div>
  )
}

function What({
  scopes,
  at,
  onChoose,
}: {
  scopes: readonly Scope[]
  at: number
  onChoose: (at: number) => void
}) {
  const name = useId()
  if (scopes.length < 2) return null
  return (
    <fieldset className="w-share-choice">
      <legend>What</legend>
      {scopes.map((scope, place) => (
        <label key={scope.label} className="w-check">
          <input
            type="radio"
            name={name}
            checked={place === at}
            onChange={() => onChoose(place)}
          />
          {scope.label}
        </label>
      ))}
    </fieldset>
  )
}

function Data({
  scope,
  draft,
  onChange,
}: {
  scope: Scope
  draft: Draft
  onChange: (patch: Partial<Draft>) => void
}) {
  const name = useId()
  const choices = [
    { isLive: false, label: "Frozen as of now" },
    {
      isLive: true,
      label: isOpenScope(scope)
        ? "Live: what is logged from now on, and runs that come later"
        : "Live: what is logged from now on too",
    },
  ]
  return (
    <fieldset className="w-share-choice">
      <legend>Data</legend>
      {choices.map(({ isLive, label }) => (
        <label key={label} className="w-check">
          <input
            type="radio"
            name={name}
            checked={draft.isLive === isLive}
            onChange={() => onChange({ isLive })}
          />
          {label}
        </label>
      ))}
    </fieldset>
  )
}

/** What is ticked: keys one by one, and what goes beside them. */
export function Fields({
  candidates,
  hasTexts: areTexts,
  shown,
  onShow,
  mayEvery,
}: {
  candidates: Candidates
  /** There is text among the charts. */
  hasTexts: boolean
  shown: Shown
  onShow: (patch: Partial<Shown>) => void
  /** Metrics may come that nobody can tick yet. */
  mayEvery: boolean
}) {
  const isEvery = shown.metrics.includes(EVERY)
  const parts = PARTS.filter((part) => candidates.has[part] || (part === "notes" && areTexts))
  return (
    <>
      <fieldset className="w-share-fields">
        <legend>Show</legend>
        {mayEvery && candidates.metrics.length > 0 && (
          <Checkbox
            label={`All ${count(candidates.metrics.length)} metrics, and those that come later`}
            isChecked={isEvery}
            onChange={(isTicked) => onShow({ metrics: isTicked ? [EVERY] : [] })}
          />
        )}
        {KEYED.map((kind) =>
          kind === "metrics" && isEvery ? null : (
            <KeyPicker
              key={kind}
              title={KEY_TITLES[kind]}
              all={candidates[kind]}
              chosen={shown[kind]}
              onChange={(keys) => onShow({ [kind]: keys })}
              isOpenFirst={kind === "metrics"}
            />
          ),
        )}
      </fieldset>
      {parts.length > 0 && (
        <fieldset className="w-share-parts">
          <legend>Also show</legend>
          {parts.map((part) => (
            <Checkbox
              key={part}
              label={part === "notes" && areTexts ? "Notes, and texts among charts" : PART_WORDS[part]}
              isChecked={shown[part]}
              onChange={(isTicked) => onShow({ [part]: isTicked })}
            />
          ))}
        </fieldset>
      )}
    </>
  )
}

function daysWord(days: number | null): string {
  if (days === null) return "Never"
  if (days === 365) return "1 year"
  return `${count(days)} ${days === 1 ? "day" : "days"}`
}

function Until({
  draft,
  days,
  onChange,
}: {
  draft: Draft
  days: readonly (number | null)[]
  onChange: (patch: Partial<Draft>) => void
}) {
  const id = useId()
  return (
    <div className="w-share-until">
      <label>
        Ends in{" "}
        <select
          className="w-input"
          value={String(draft.days)}
          onChange={(event) =>
            onChange({ days: event.target.value === "null" ? null : Number(event.target.value) })
          }
        >
          {days.map((one) => (
            <option key={String(one)} value={String(one)}>
              {daysWord(one)}
            </option>
          ))}
        </select>
      </label>
      <Checkbox
        label="Password"
        isChecked={draft.password !== null}
        onChange={(isTicked) => onChange({ password: isTicked ? "" : null })}
      />
      {draft.password !== null && (
        <input
          id={id}
          className="w-input"
          type="password"
          aria-label="Password of the link"
          autoComplete="new-password"
          required
          maxLength={200}
          value={draft.password}
          onChange={(event) => onChange({ password: event.target.value })}
        />
      )}
    </div>
  )
}

function Warnings({ words }: { words: readonly string[] }) {
  if (words.length === 0) return null
  return (
    <ul className="w-share-warnings" aria-label="Warnings">
      {words.map((one) => (
        <li key={one}>
          <Icon name="warning" /> <span>{visible(one, 300)}</span>
        </li>
      ))}
    </ul>
  )
}
