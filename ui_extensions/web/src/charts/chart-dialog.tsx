/** Making a panel of one's own, or changing one: which kind it is, and what it shows. */

import "./panels.css"

import { useState } from "react"

import { Button, Segments } from "../controls/button"
import { Dialog } from "../controls/dialog"
import type { IconName } from "../controls/icon"
import { Icon } from "../controls/icon"
import { useMatches } from "../data/match"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import { KeyChoice, PanelFields } from "./panel-fields"
import { DEFAULT_HEIGHT } from "./sections"
import type { Aggregate, CardKind, CardLayout, DrawnRun } from "./types"
import { MAX_CARD_KEYS, MAX_CARD_TEXT } from "./types"

const MAX_SHOWN = 200
const MAX_TEXT = 500
const TITLES: Record<Aggregate, string> = { latest: "latest", min: "smallest", max: "largest" }

type Way = "names" | "pattern" | Exclude<CardKind, "line">

const WAYS: readonly { value: Way; label: string; about: string; icon: IconName }[] = [
  { value: "names", label: "Lines of metrics", about: "one metric or several, by step or time", icon: "chart" },
  { value: "pattern", label: "Lines by expression", about: "also metrics that come later", icon: "search" },
  { value: "scatter", label: "Scatter", about: "a dot a run, one value over another", icon: "scatter" },
  { value: "bars", label: "Bars", about: "a bar a run, or a mean by param", icon: "bars" },
  { value: "parallel", label: "Parallel coordinates", about: "params, and what came of them", icon: "parallel" },
  { value: "importance", label: "Param importance", about: "which params go with a result", icon: "sort" },
  { value: "scalar", label: "One number a run", about: "latest, smallest, largest", icon: "pin" },
  { value: "compare", label: "Runs side by side", about: "what differs between them", icon: "columns" },
  { value: "media", label: "Images", about: "run beside run, by step", icon: "eye" },
  { value: "text", label: "Text", about: "Markdown among the charts", icon: "edit" },
]

/** How large a new one is, in columns and rows. */
const SIZES: Partial<Record<Way, readonly [w: number, h: number]>> = {
  parallel: [2, DEFAULT_HEIGHT],
  compare: [2, DEFAULT_HEIGHT],
  media: [3, DEFAULT_HEIGHT],
}

function wayOf(card: CardLayout | null): Way {
  if (card !== null && card.kind !== "line") return card.kind
  return card?.pattern ? "pattern" : "names"
}

/** What a scalar is called. */
export function scalarTitle(metric: string, aggregate: Aggregate): string {
  return `${metric} (${TITLES[aggregate]})`
}

export function ChartDialog({
  card,
  keys,
  experimentIds,
  runs,
  onCard,
  onClose,
}: {
  /** What is changed, or what a new one begins with; null for an empty one. */
  card: CardLayout | null
  keys: readonly string[]
  experimentIds: readonly string[]
  runs: readonly DrawnRun[]
  onCard: (card: CardLayout) => void
  onClose: () => void
}) {
  const first = wayOf(card)
  const [way, setWay] = useState<Way>(first)
  const [title, setTitle] = useState(card?.isOwn ? (card.title ?? "") : "")
  const [chosen, choose] = useState<readonly string[]>(card?.keys ?? [])
  const [pattern, setPattern] = useState(card?.pattern ?? "")
  const [aggregate, setAggregate] = useState<Aggregate>(card?.aggregate ?? "latest")
  const [text, setText] = useState(card?.text ?? "")
  const [columns, setColumns] = useState<readonly string[]>(card?.columns ?? [])
  const [parts, setParts] = useState<readonly string[]>(card?.parts ?? [])
  const matches = useMatches(way === "pattern" ? pattern : "", keys)
  const isOfKeys = way === "names" || way === "scalar"
  const isGood =
    way === "text"
      ? text.trim() !== ""
      : way === "pattern"
        ? (matches.keys?.length ?? 0) > 0 && matches.error === null
        : !isOfKeys || (chosen.length > 0 && chosen.length <= MAX_CARD_KEYS)
  const make = (): void => {
    const [w, h] = SIZES[way] ?? [1, DEFAULT_HEIGHT]
    const named = title.trim() ? { title: title.trim() } : {}
    const rest = { id: "", w, h, isOwn: true as const, keys: [], ...named }
    if (way === "text") onCard({ ...rest, kind: way, text })
    else if (way === "pattern") onCard({ ...rest, kind: "line", pattern })
    else if (way === "names") onCard({ ...rest, kind: "line", keys: [...chosen] })
    else if (way === "scalar") {
      const [metric = ""] = chosen
      onCard({ ...rest, title: title.trim() || scalarTitle(metric, aggregate), kind: way, keys: [metric], aggregate })
    } else {
      onCard({
        ...rest,
        kind: way,
        keys: way === "media" ? [...chosen] : [],
        ...(columns.length > 0 && way !== "media" && way !== "compare" ? { columns: [...columns] } : {}),
        ...(parts.length > 0 && way === "compare" ? { parts: [...parts] } : {}),
      })
    }
  }
  return (
    <Dialog
      title={card?.isOwn ? "Change the panel" : "Add a panel"}
      isWide
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
        <div className="w-panel-kinds" role="group" aria-label="What it shows">
          {WAYS.map((one) => (
            <button
              key={one.value}
              type="button"
              className="w-panel-kind"
              aria-pressed={one.value === way}
              onClick={() => {
                if (one.value === way) return
                setWay(one.value)
                // What stands for something else in another kind is left behind.
                const isOfMetrics = (kind: Way): boolean => kind === "names" || kind === "scalar"
                if (one.value === "scalar" && isOfMetrics(way)) choose(chosen.slice(0, 1))
                else if (isOfMetrics(one.value) !== isOfMetrics(way)) choose([])
                setColumns(one.value === first ? (card?.columns ?? []) : [])
              }}
            >
              <Icon name={one.icon} />
              <span>
                {one.label}
                <span className="w-secondary">{one.about}</span>
              </span>
            </button>
          ))}
        </div>
        <label className="w-chart-field">
          Title
          <input
            className="w-input"
            value={title}
            maxLength={MAX_TEXT}
            placeholder={way === "text" ? "none" : "by what it shows"}
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
        ) : isOfKeys ? (
          <KeyChoice what="metrics" keys={keys} chosen={chosen} isSingle={way === "scalar"} onChange={choose} />
        ) : (
          <PanelFields
            kind={way}
            experimentIds={experimentIds}
            runs={runs}
            columns={columns}
            onColumns={setColumns}
            keys={chosen}
            onKeys={choose}
            parts={parts}
            onParts={setParts}
          />
        )}
      </div>
    </Dialog>
  )
}
