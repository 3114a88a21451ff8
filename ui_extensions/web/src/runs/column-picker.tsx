import { useMemo, useState } from "react"

import { IconButton } from "../controls/button"
import { SearchBox } from "../controls/input"
import { Popover } from "../controls/menu"
import { count } from "../text/format"
import { fuzzyScore } from "../text/fuzzy"
import { visible } from "../text/visible"
import type { ColumnChoice } from "../view/document"
import type { KnownKeys } from "./api"
import { columnName, columnTitle, parseColumn } from "./columns"
import { isHigherBetter, sayDirection } from "./direction"
import { useWorkspace } from "./workspace-context"

const ATTRIBUTES = ["status", "user_id", "start_time", "end_time", "duration", "run_id", "experiment_id"]
const MAX_OFFERED = 200
const BEST = "best "

interface Offer {
  readonly name: string
  readonly about: string
}

function offers(known: KnownKeys | null): Offer[] {
  const of = (kind: "params" | "tags" | "metrics", word: string): Offer[] =>
    (known?.[kind] ?? []).map((one) => ({
      name: kind === "metrics" ? `metrics.${one.key}:latest` : `${kind}.${one.key}`,
      about: `${word}, ${count(one.n_runs)} runs`,
    }))
  return [
    ...ATTRIBUTES.map((key) => ({ name: `attributes.${key}`, about: "run" })),
    ...of("metrics", "metric"),
    ...of("params", "param"),
    ...of("tags", "tag").filter((one) => !one.name.startsWith("tags.mlflow.")),
    ...of("tags", "tag").filter((one) => one.name.startsWith("tags.mlflow.")),
  ]
}

/** Choose, order, pin and drop columns. */
export function ColumnsButton() {
  const { view, columns, isTable } = useWorkspace()
  const n = view.doc.columns.length > 0 ? columns.length : 0
  return (
    <Popover
      label="Columns"
      button={{
        icon: "columns",
        isSmall: true,
        "aria-label": "Columns",
        title: "Columns",
        children: isTable && (n ? `Columns · ${n}` : "Columns"),
      }}
    >
      {() => <ColumnsBox />}
    </Popover>
  )
}

function ColumnsBox() {
  const { view, known, columns: shown } = useWorkspace()
  const { update } = view
  const [search, setSearch] = useState("")
  const set = (columns: readonly ColumnChoice[]): void => update({ columns })
  const move = (at: number, by: number): void => {
    const columns = [...shown]
    const [one] = columns.splice(at, 1)
    if (one) columns.splice(Math.max(0, at + by), 0, one)
    set(columns)
  }
  const chosen = useMemo(() => new Set(shown.map((one) => one.name)), [shown])
  const found = useMemo(() => {
    const wanted = search.trim().toLowerCase()
    return offers(known)
      .filter((one) => !chosen.has(one.name))
      .map((one) => ({ ...one, score: fuzzyScore(one.name, wanted) }))
      .filter((one) => one.score > 0)
      .sort((a, b) => b.score - a.score)
      .slice(0, MAX_OFFERED)
  }, [known, search, chosen])
  return (
    <div className="w-columns">
      {shown.length > 0 && (
        <ul className="w-columns-chosen" aria-label="Shown columns">
          {shown.map((column, at) => (
            <ChosenColumn
              key={column.name}
              column={column}
              onMove={(by) => move(at, by)}
              isFirst={at === 0}
              isLast={at === shown.length - 1}
              onChange={(next) =>
                set(
                  next === null
                    ? shown.filter((one) => one.name !== column.name)
                    : shown.map((one) => (one.name === column.name ? next : one)),
                )
              }
            />
          ))}
        </ul>
      )}
      <SearchBox label="Find a column to add" value={search} onChange={setSearch} />
      <ul className="w-columns-offers" aria-label="Columns to add">
        {found.map((one) => (
          <li key={one.name}>
            <button
              type="button"
              className="w-menu-item"
              onClick={() => set([...shown, { name: one.name, isPinned: shown.length < 2 }])}
            >
              <span className="w-columns-name" title={columnTitle(one.name)}>
                {columnTitle(one.name)}
              </span>
              <span className="w-columns-about">{visible(one.about)}</span>
            </button>
          </li>
        ))}
        {found.length === 0 && <li className="w-columns-none">No such column</li>}
      </ul>
    </div>
  )
}

function ChosenColumn({
  column,
  isFirst,
  isLast,
  onMove,
  onChange,
}: {
  column: ColumnChoice
  isFirst: boolean
  isLast: boolean
  onMove: (by: number) => void
  onChange: (column: ColumnChoice | null) => void
}) {
  const { view, columns } = useWorkspace()
  const { doc, update } = view
  const parsed = parseColumn(column.name)
  const title = columnTitle(column.name)
  const isHigher = isHigherBetter(parsed.key, doc.higherIsBetter)
  return (
    <li className="w-columns-one">
      <span className="w-columns-name" title={title}>
        {columnTitle(columnName({ ...parsed, aggregate: parsed.aggregate === "" ? "" : "latest" }))}
      </span>
      {parsed.kind === "metrics" && (
        <>
          <select
            className="w-input w-input-small"
            aria-label={`Which value of ${parsed.key}`}
            value={parsed.aggregate}
            onChange={(event) => {
              const aggregate =
                event.target.value === "best" ? (isHigher ? "max" : "min") : event.target.value
              const name = columnName({ ...parsed, aggregate: aggregate as "latest" | "min" | "max" })
              if (!columns.some((one) => one.name === name)) onChange({ ...column, name })
            }}
          >
            <option value="latest">latest</option>
            <option value="min">min</option>
            <option value="max">max</option>
            <option value="best">best ({isHigher ? "max" : "min"})</option>
          </select>
          <IconButton
            icon={isHigher ? "chevronUp" : "chevronDown"}
            label={`${isHigher ? "Higher" : "Lower"} is better: change`}
            isSmall
            onClick={() =>
              update({ higherIsBetter: sayDirection(parsed.key, !isHigher, doc.higherIsBetter) })
            }
          />
        </>
      )}
      <IconButton
        icon="pin"
        label={column.isPinned ? `Take ${title} from the side bar` : `Show ${title} in the side bar`}
        isSmall
        aria-pressed={column.isPinned}
        onClick={() => onChange({ ...column, isPinned: !column.isPinned })}
      />
      <IconButton
        icon="chevronLeft"
        label={`Move ${title} to the left`}
        isSmall
        disabled={isFirst}
        onClick={() => onMove(-1)}
      />
      <IconButton
        icon="chevronRight"
        label={`Move ${title} to the right`}
        isSmall
        disabled={isLast}
        onClick={() => onMove(1)}
      />
      <IconButton icon="close" label={`Hide ${title}`} isSmall onClick={() => onChange(null)} />
    </li>
  )
}

/** Choose one column, such as to sort or group by. */
export function ColumnSelect({
  label,
  value,
  exclude = [],
  withAggregates = false,
  onBest,
  onChange,
}: {
  label: string
  value: string
  exclude?: readonly string[]
  withAggregates?: boolean
  /** Somebody wants a metric by its best value, whichever end that is. */
  onBest?: (key: string) => void
  onChange: (name: string) => void
}) {
  const { known } = useWorkspace()
  const hasBest = onBest !== undefined
  const kinds = useMemo(() => {
    const metric = (key: string): string[] => {
      const name = `metrics.${key}`
      const latest = `${name}:latest`
      return withAggregates ? [latest, `${name}:min`, `${name}:max`, ...(hasBest ? [`${BEST}${key}`] : [])] : [latest]
    }
    return [
      { label: "Run", names: ATTRIBUTES.map((key) => `attributes.${key}`) },
      { label: "Params", names: (known?.params ?? []).map((one) => `params.${one.key}`) },
      { label: "Metrics", names: (known?.metrics ?? []).flatMap((one) => metric(one.key)) },
      { label: "Tags", names: (known?.tags ?? []).map((one) => `tags.${one.key}`) },
    ]
  }, [known, withAggregates, hasBest])
  const isKnown = kinds.some((kind) => kind.names.includes(value))
  return (
    <select
      className="w-input w-column-select"
      aria-label={label}
      value={value}
      onChange={(event) => {
        const { value: chosen } = event.target
        if (chosen.startsWith(BEST)) onBest?.(chosen.slice(BEST.length))
        else onChange(chosen)
      }}
    >
      <option value="">{label}…</option>
      {value && !isKnown && <option value={value}>{columnTitle(value)}</option>}
      {kinds.map((kind) => (
        <optgroup key={kind.label} label={kind.label}>
          {kind.names
            .filter((name) => name === value || !exclude.includes(name))
            .slice(0, 1_000)
            .map((name) => (
              <option key={name} value={name}>
                {name.startsWith(BEST) ? `${visible(name.slice(BEST.length), 250)} (best first)` : columnTitle(name)}
              </option>
            ))}
        </optgroup>
      ))}
    </select>
  )
}
