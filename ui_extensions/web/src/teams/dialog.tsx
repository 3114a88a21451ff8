import "./teams.css"

import { useId, useMemo, useState } from "react"

import { useAsked } from "../api/use-answer"
import { Button } from "../controls/button"
import { CopyButton } from "../controls/copy"
import { Dialog } from "../controls/dialog"
import { Icon } from "../controls/icon"
import { Checkbox } from "../controls/input"
import { Failed, Loading } from "../controls/state"
import { PlaceLink } from "../layout/link"
import type { NewShare } from "../share/api"
import { findCandidates } from "../share/api"
import { Fields } from "../share/dialog"
import { NOTHING_SHOWN } from "../share/draft"
import { Preview } from "../share/preview"
import { addressOf, sharesChanged } from "../share/shares"
import { warningsOf } from "../share/warnings"
import { shownWords } from "../share/words"
import { dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Level, Seen, Visibility } from "./api"
import { changeVisibility } from "./api"
import { LEVEL_WORDS, NO_LOGIN, visibilityChanged } from "./visibility"

const LEVELS = ["private", "team", "public"] as const

/** Who may see an experiment: said to all who may read it, changed by who may give it away. */
export function VisibilityDialog({
  seen,
  experimentId,
  name,
  onClose,
}: {
  seen: Seen
  experimentId: string
  name: string
  onClose: () => void
}) {
  const [now] = useState(() => seen.experiments.find((one) => one.id === experimentId))
  const title = `Who may see “${visible(name, 80)}”`
  const [level, setLevel] = useState<Level>(now?.level ?? "team")
  if (now === undefined) return null
  return (
    <Dialog title={title} className={level === "public" && now.may_change ? "w-share" : "w-seen-dialog"} onClose={onClose}>
      {now.may_change ? (
        <Form seen={seen} now={now} name={name} level={level} onLevel={setLevel} onClose={onClose} />
      ) : (
        <Told seen={seen} now={now} />
      )}
    </Dialog>
  )
}

function Told({ seen, now }: { seen: Seen; now: Visibility }) {
  const { word, icon, means } = LEVEL_WORDS[now.level]
  return (
    <>
      {!seen.has_login && <Note>{NO_LOGIN}</Note>}
      <p>
        <Icon name={icon} /> <strong>{word}</strong>: {means.toLowerCase()}.
      </p>
      {now.path !== undefined && <Address path={now.path} />}
      <p className="w-secondary">Who may delete the experiment may change it: ask its owner.</p>
    </>
  )
}

function Note({ children }: { children: string }) {
  return (
    <p className="w-share-policy" role="note">
      <Icon name="warning" /> {children}
    </p>
  )
}

function Address({ path }: { path: string }) {
  const id = useId()
  const address = addressOf(path.slice(path.lastIndexOf("/") + 1))
  return (
    <div className="w-share-field">
      <label htmlFor={id}>Its address</label>
      <div className="w-share-address">
        <input id={id} className="w-input" readOnly value={address} onFocus={(event) => event.target.select()} />
        <CopyButton text={address} label="Copy" isWorded />
      </div>
    </div>
  )
}

function Form({
  seen,
  now,
  name,
  level,
  onLevel,
  onClose,
}: {
  seen: Seen
  now: Visibility
  name: string
  level: Level
  onLevel: (level: Level) => void
  onClose: () => void
}) {
  const group = useId()
  const [title, setTitle] = useState(now.title ?? "")
  const [shown, setShown] = useState(now.shown ?? NOTHING_SHOWN)
  const [replacesNames, replaceNames] = useState(now.replaces_names ?? false)
  const [fault, setFault] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)
  const isPublic = level === "public"
  const meant = useMemo(
    () => ({ experiment_ids: [now.id], run_ids: null, filter: null }),
    [now.id],
  )
  const candidates = useAsked(isPublic ? now.id : null, (options) => findCandidates(meant, options))
  const preview = useMemo<NewShare>(
    () => ({
      ...meant,
      kind: "experiment",
      title: title.trim() || name.slice(0, NAME_LENGTH) || "Results",
      view: null,
      is_live: true,
      shown,
      replaces_names: replacesNames,
      expires_ms: null,
      password: null,
      is_preview: true,
    }),
    [meant, title, name, shown, replacesNames],
  )
  const refused: Partial<Record<Level, string | null>> = {
    private: seen.why_not_private,
    public:
      seen.policy === "off"
        ? "Links are switched off on this server (WEIR_PUBLIC_LINKS=off): who runs it decides."
        : null,
  }
  const save = (): void => {
    setBusy(true)
    setFault(null)
    const more = isPublic ? { title: title.trim() || name.slice(0, NAME_LENGTH), shown, replaces_names: replacesNames } : {}
    changeVisibility({ experiment_id: now.id, level, ...more }).then(
      ({ experiment }) => {
        visibilityChanged()
        sharesChanged()
        // A new address is wanted at once; all else is done.
        if (experiment.path === undefined) onClose()
        else setMade(experiment.path)
      },
      (failure: unknown) => {
        setFault(failure instanceof Error ? failure : new Error(String(failure)))
        setBusy(false)
      },
    )
  }
  const [made, setMade] = useState<string | null>(null)
  if (made !== null) {
    return (
      <div className="w-share-made">
        <Address path={made} />
        <p>
          Whoever has it sees {shownWords(shown)}
          {seen.policy === "authenticated" && ", if they can sign in to this server"}.
        </p>
        <div className="w-share-foot">
          <Button kind="primary" onClick={onClose}>
            Done
          </Button>
        </div>
      </div>
    )
  }
  return (
    <div className={isPublic ? "w-share-columns" : undefined}>
      <form
        className="w-share-form"
        aria-label="Who may see it"
        onSubmit={(event) => {
          event.preventDefault()
          save()
        }}
      >
        {!seen.has_login && <Note>{NO_LOGIN}</Note>}
        <fieldset className="w-seen-choice">
          <legend className="w-hidden-text">Who may see it</legend>
          {LEVELS.map((one) => {
            const { word, icon, means } = LEVEL_WORDS[one]
            const why = refused[one]
            return (
              <label key={one} className="w-seen-level">
                <input
                  type="radio"
                  name={group}
                  checked={level === one}
                  disabled={Boolean(why) && now.level !== one}
                  onChange={() => onLevel(one)}
                />
                <span>
                  <strong>
                    <Icon name={icon} /> {word}
                  </strong>
                  <span className="w-secondary">
                    {means}.{why && ` Not here: ${visible(why, 200)}`}
                  </span>
                </span>
              </label>
            )
          })}
        </fieldset>
        {now.path !== undefined && isPublic && <Address path={now.path} />}
        {isPublic && (
          <>
            {seen.policy === "authenticated" && (
              <Note>On this server links open for those alone who can sign in to it.</Note>
            )}
            <label className="w-share-field">
              Title
              <input
                className="w-input"
                maxLength={NAME_LENGTH}
                placeholder={visible(name, NAME_LENGTH)}
                value={title}
                onChange={(event) => setTitle(event.target.value)}
              />
            </label>
            {candidates.error && (
              <Failed
                what="What there is to show could not be read"
                error={candidates.error}
                onRetry={candidates.retry}
              />
            )}
            {candidates.data === null && !candidates.error && <Loading rows={5} />}
            {candidates.data && (
              <Fields
                candidates={candidates.data}
                hasTexts={false}
                shown={shown}
                onShow={(patch) => setShown((before) => ({ ...before, ...patch }))}
                mayEvery
              />
            )}
            <Checkbox
              label="Replace the runs’ names by “Run 1”, “Run 2”…"
              isChecked={replacesNames}
              onChange={replaceNames}
            />
            <ul className="w-share-warnings" aria-label="Warnings">
              {warningsOf(shown, true, true).map((one) => (
                <li key={one}>
                  <Icon name="warning" /> <span>{visible(one, 300)}</span>
                </li>
              ))}
            </ul>
          </>
        )}
        {level === "private" && now.level !== "private" && (
          <p className="w-secondary">Links into it open no more while it is private.</p>
        )}
        {fault && <Failed what="It was not changed" error={fault} />}
        <div className="w-share-foot">
          <div>
            {seen.has_login && (
              <div>
                <PlaceLink to={{ page: "teams" }} query={new URLSearchParams({ e: now.id })}>
                  Who that is, and who did what
                </PlaceLink>
              </div>
            )}
            {now.changed_ms !== null && (
              <div className="w-secondary">
                Changed {dateTime(now.changed_ms)}
                {now.changed_by && ` by ${visible(now.changed_by, 60)}`}
              </div>
            )}
          </div>
          <Button kind="primary" type="submit" disabled={isBusy || (level === now.level && !isPublic)}>
            {isPublic ? (now.level === "public" ? "Save" : "Make it public") : `Make it ${level === "team" ? "the team’s" : level}`}
          </Button>
        </div>
      </form>
      {isPublic && <Preview share={preview} />}
    </div>
  )
}
