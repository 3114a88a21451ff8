/** Making a chart of one's own: several metrics on one, by name or by an expression, or one number a run. */

import { useMemo, useState } from "react"

import { Button, Segments } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { Checkbox, SearchBox } from "../controls/input"
import { useMatches } from "../data/match"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Aggregate, CardLayout } from "./types"
import { MAX_CARD_KEYS, MAX_CARD_TEXT } from "./types"

const MAX_SHOWN = 200
const MAX_TEXT = 500
const TITLES: Record<Aggregate, string> = { latest: "latest", min: "smallest", max: "largest" }

type Way = "names" | "pattern" | "scalar" | "text"

function wayOf(card: CardLayout | null): Way {
  if (card?.kind === "scalar" || card?.kind === "text") return card.kind
  return card?.pattern ? "pattern" : "names"
}

/** What a scalar is called. */
export function scalarTitle(metric: string, aggregate: Aggregate): string {
  return `${metric} (${TITLES[aggregate]})`
}

export function ChartDialog({
  card,
  keys,
  onCard,
  onClose,
}: {
  /** What is changed, or what a new one begins with; null for an empty one. */
  card: CardLayout | null
  keys: readonly string[]
  onCard: (card: CardLayout) => void
  onClose: () => void
}) {
  const [way, setWay] = useState<Way>(wayOf(card))
  const [title, setTitle] = useState(card?.isOwn ? (card.title ?? "") : "")
  const [chosen, choose] = useState<readonly string[]>(card?.keys ?? [])
  const [pattern, setPattern] = useState(card?.pattern ?? "")
  const [aggregate, setAggregate] = useState<Aggregate>(card?.aggregate ?? "latest")
  const [text, setText] = useState(card?.text ?? "")
  const [search, setSearch] = useState("")
  const matches = useMatches(way === "pattern" ? pattern : "", keys)
  const found = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean)
    const named = keys.filter((key) => words.every((word) => key.toLowerCase().includes(word)))
    // What is chosen stays at hand whatever is searched for.
    return [...chosen, ...named.filter((key) => !chosen.includes(key))]
  }, [keys, search, chosen])
  const isSingle = way === "scalar"
  const toggle = (key: string): void => {
    if (isSingle) choose([key])
    else choose(chosen.includes(key) ? chosen.filter((one) => one !== key) : [...chosen, key])
  }
  const isGood =
    way === "text"
      ? text.trim() !== ""
      : way === "pattern"
      ? (matches.keys?.length ?? 0) > 0 && matches.error === null
      : chosen.length > 0 && chosen.length <= MAX_CARD_KEYS
  const make = (): void => {
    const rest = { id: "", w: 1, h: 15, isOwn: true as const }
    const named = title.trim() ? { title: title.trim() } : {}
    if (way === "text") onCard({ ...rest, ...named, kind: "text", keys: [], text })
    else if (way === "pattern") onCard({ ...rest, ...named, kind: "line", keys: [], pattern })
    else if (way === "names") onCard({ ...rest, ...named, kind: "line", keys: [...chosen] })
    else {
      const [metric = ""] = chosen
      onCard({ ...rest, title: title.trim() || scalarTitle(metric, aggregate), kind: "scalar", keys: [metric], aggregate })
    }
  }
  return (
    <Dialog
      title={card?.isOwn ? "Change the chart" : "Add a chart"}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" disabled={!isGood} onClick={make}>
            {card?.isOwn ? "Change" : "Add"}
          </Button>
        </>
      }
    >
      <div className="w-chart-form">
        <Segments
          label="What it shows"
          value={way}
          options={[
            { value: "names", label: "Lines of metrics" },
            { value: "pattern", label: "Lines by expression" },
            { value: "scalar", label: "One number a run" },
            { value: "text", label: "Text" },
          ]}
          onChange={(next) => {
            setWay(next)
            if (next === "scalar") choose(chosen.slice(0, 1))
          }}
        />
        <label className="w-chart-field">
          Title
          <input
            className="w-input"
            value={title}
            maxLength={MAX_TEXT}
            placeholder={way === "text" ? "none" : "as its metrics are called"}
            onChange={(event) => setTitle(event.target.value)}
          />
        </label>
        {way === "scalar" && (
          <Segments
            label="Which value"
            value={aggregate}
            options={(["latest", "min", "max"] as const).map((value) => ({ value, label: TITLES[value] }))}
            onChange={setAggregate}
          />
        )}
        {way === "text" ? (
          <label className="w-chart-field">
            Text, in Markdown
            <textarea
              className="w-input w-text-field"
              rows={12}
              value={text}
              maxLength={MAX_CARD_TEXT}
              placeholder={"## What this shows\n\n- why these runs\n- what to look at"}
              onChange={(event) => setText(event.target.value)}
            />
          </label>
        ) : way === "pattern" ? (
          <>
            <label className="w-chart-field">
              Regular expression
              <input
                className="w-input w-chart-pattern"
                value={pattern}
                maxLength={MAX_TEXT}
                spellCheck={false}
                placeholder="^(train|val)/loss$"
                aria-invalid={matches.error !== null}
                onChange={(event) => setPattern(event.target.value)}
              />
            </label>
            <p role="status" className={matches.error ? "w-text-bad" : "w-secondary"}>
              {matches.error
                ? matches.error.message
                : `${count(matches.keys?.length ?? 0)} of ${count(keys.length)} metrics; those that come later too`}
            </p>
            <ul className="w-chart-keys">
              {(matches.keys ?? []).slice(0, MAX_SHOWN).map((key) => (
                <li key={key}>{visible(key, NAME_LENGTH)}</li>
              ))}
            </ul>
          </>
        ) : (
          <>
            <SearchBox label="Search metrics" value={search} onChange={setSearch} />
            <p role="status" className="w-secondary">
              {chosen.length > MAX_CARD_KEYS
                ? `At most ${MAX_CARD_KEYS} metrics on one chart`
                : `${count(chosen.length)} chosen`}
            </p>
            <ul className="w-chart-keys">
              {found.slice(0, MAX_SHOWN).map((key) => (
                <li key={key}>
                  <Checkbox label={visible(key, NAME_LENGTH)} isChecked={chosen.includes(key)} onChange={() => toggle(key)} />
                </li>
              ))}
              {found.length > MAX_SHOWN && <li>{count(found.length - MAX_SHOWN)} more: search</li>}
            </ul>
          </>
        )}
      </div>
    </Dialog>
  )
}
