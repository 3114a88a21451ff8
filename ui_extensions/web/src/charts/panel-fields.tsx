/** What a panel that compares runs is made of: columns, sections, keys of images. */

import { useMemo, useState } from "react"

import { IconButton } from "../controls/button"
import { Checkbox, SearchBox } from "../controls/input"
import { Failed, Loading } from "../controls/state"
import type { KnownKeys } from "../runs/api"
import { columnTitle } from "../runs/columns"
import { SECTIONS } from "../runs/comparison"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import { ColumnButton } from "./column-button"
import type { ColumnKinds } from "./column-button"
import { FIRST_RUNS, useImages } from "./media-panels"
import type { CardKind, DrawnRun } from "./types"
import { MAX_CARD_COLUMNS, MAX_CARD_KEYS } from "./types"
import { useKnownKeys, usualMetric } from "./use-cells"

const MAX_SHOWN = 200
const NUMBERS: ColumnKinds = { metrics: true, params: true, times: true }
const AXES: ColumnKinds = { params: true, metrics: true, times: true }
const WORDS: ColumnKinds = { params: true, tags: true }

/** Some of many keys, with what is chosen at hand whatever is searched for. */
export function KeyChoice({
  what,
  keys,
  chosen,
  isSingle = false,
  onChange,
}: {
  what: string
  keys: readonly string[]
  chosen: readonly string[]
  isSingle?: boolean
  onChange: (chosen: readonly string[]) => void
}) {
  const [search, setSearch] = useState("")
  const found = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean)
    const named = keys.filter((key) => words.every((word) => key.toLowerCase().includes(word)))
    return [...chosen, ...named.filter((key) => !chosen.includes(key))]
  }, [keys, search, chosen])
  const toggle = (key: string): void => {
    if (isSingle) onChange([key])
    else onChange(chosen.includes(key) ? chosen.filter((one) => one !== key) : [...chosen, key])
  }
  return (
    <>
      <SearchBox label={`Search ${what}`} value={search} onChange={setSearch} />
      <p role="status" className="w-secondary">
        {chosen.length > MAX_CARD_KEYS ? `At most ${MAX_CARD_KEYS} on one panel` : `${count(chosen.length)} chosen`}
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
  )
}

interface FieldsProps {
  kind: CardKind
  experimentIds: readonly string[]
  runs: readonly DrawnRun[]
  columns: readonly string[]
  onColumns: (columns: readonly string[]) => void
  keys: readonly string[]
  onKeys: (keys: readonly string[]) => void
  parts: readonly string[]
  onParts: (parts: readonly string[]) => void
}

export function PanelFields(props: FieldsProps) {
  if (props.kind === "media") return <ImageFields {...props} />
  if (props.kind === "compare") return <PartFields {...props} />
  return <ColumnFields {...props} />
}

function PartFields({ parts, onParts }: FieldsProps) {
  const all = SECTIONS.map((one) => one.value as string)
  const shown = parts.length > 0 ? parts : all
  return (
    <fieldset className="w-panel-parts">
      <legend>Sections</legend>
      {SECTIONS.map(({ value, label }) => (
        <Checkbox
          key={value}
          label={label}
          isChecked={shown.includes(value)}
          onChange={(isOn) => {
            const next = all.filter((one) => (one === value ? isOn : shown.includes(one)))
            onParts(next.length === all.length ? [] : next)
          }}
        />
      ))}
    </fieldset>
  )
}

function ImageFields({ runs, keys, onKeys }: FieldsProps) {
  const ids = useMemo(() => runs.filter((run) => run.isVisible).slice(0, FIRST_RUNS).map((run) => run.id), [runs])
  const { images, error, isLoading } = useImages(ids)
  const found = useMemo(() => [...new Set([...images.values()].flatMap((of) => [...of.keys()]))].sort(), [images])
  return (
    <>
      <p className="w-secondary">All images, or those of some keys.</p>
      {error && <Failed what="The images could not be listed" error={error} />}
      {isLoading && !error ? <Loading label="Looking for images" rows={3} /> : <KeyChoice what="images" keys={found} chosen={keys} onChange={onKeys} />}
    </>
  )
}

function ColumnFields({ kind, experimentIds, columns, onColumns }: FieldsProps) {
  const known = useKnownKeys(experimentIds)
  if (known.error) return <Failed what="The columns could not be read" error={known.error} onRetry={known.retry} />
  if (known.data === null) return <Loading label="Loading the columns" rows={2} />
  const usual = usualMetric(known.data)
  const [first = null, ...rest] = columns
  const target = first ?? usual
  const field = (label: string, column: string | null, kinds: ColumnKinds, onChange: (next: string | null) => void, otherwise?: string) => (
    <ColumnButton
      label={label}
      column={column}
      known={known.data}
      kinds={kinds}
      {...(otherwise === undefined ? {} : { otherwise })}
      onChange={onChange}
    />
  )
  if (kind === "scatter") {
    const y = rest[0] ?? usual
    const x = first
    return (
      <div className="w-panel-columns">
        {field("y", y, AXES, (next) => next !== null && onColumns(x === null ? firstParam(known.data, next) : [x, next]))}
        {field(
          "x",
          x,
          AXES,
          (next) => onColumns(next === null || y === null ? [] : [next, y]),
          "what goes most with y",
        )}
      </div>
    )
  }
  if (kind === "bars") {
    return (
      <div className="w-panel-columns">
        {field("value", target, NUMBERS, (next) => next !== null && onColumns([next, ...rest]))}
        {field("by", rest[0] ?? null, WORDS, (next) => target !== null && onColumns(next === null ? [target] : [target, next]), "run")}
      </div>
    )
  }
  return (
    <>
      <div className="w-panel-columns">
        {field("by", target, NUMBERS, (next) => next !== null && onColumns([next, ...rest]))}
        {rest.length + 1 < MAX_CARD_COLUMNS &&
          field(
            kind === "parallel" ? "axis" : "param",
            null,
            kind === "parallel" ? AXES : { params: true },
            (next) => next !== null && target !== null && !rest.includes(next) && onColumns([target, ...rest, next]),
            "add",
          )}
      </div>
      {rest.length === 0 ? (
        <p className="w-secondary">
          {kind === "parallel" ? "Its axes are the params that go most with it." : "All params that differ."}
        </p>
      ) : (
        <ul className="w-panel-chosen">
          {rest.map((column, at) => (
            <li key={column}>
              <span className="w-cut">{columnTitle(column)}</span>
              <IconButton
                icon="chevronUp"
                label={`${columnTitle(column)} further up`}
                isSmall
                disabled={at === 0}
                onClick={() => target !== null && onColumns([target, ...swapped(rest, at)])}
              />
              <IconButton
                icon="close"
                label={`Without ${columnTitle(column)}`}
                isSmall
                onClick={() => target !== null && onColumns([target, ...rest.filter((one) => one !== column)])}
              />
            </li>
          ))}
        </ul>
      )}
    </>
  )
}

/** A scatter names both of its axes, or none. */
function firstParam(known: KnownKeys | null, y: string): string[] {
  const [param] = known?.params ?? []
  return param === undefined ? [] : [`params.${param.key}`, y]
}

function swapped(all: readonly string[], at: number): string[] {
  const next = [...all]
  const [moved] = next.splice(at, 1)
  if (moved !== undefined) next.splice(at - 1, 0, moved)
  return next
}
