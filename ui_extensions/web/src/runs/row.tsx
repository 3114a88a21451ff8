import type { CSSProperties, MouseEvent } from "react"
import { memo } from "react"

import { IconButton } from "../controls/button"
import { Icon } from "../controls/icon"
import { PlaceLink } from "../layout/link"
import { visible } from "../text/visible"
import type { Cell, RunRow } from "./api"
import type { Dash } from "./colour"
import { cellNumber, cellText, cellTitle, deltaText, isNumberColumn, parseColumn } from "./columns"
import { shownName } from "../text/names"
import { isHigherBetter } from "./direction"

export interface ShownColumn {
  readonly name: string
  readonly width: number
}

const STATES: Record<string, { glyph: string; word: string; kind: string }> = {
  RUNNING: { glyph: "●", word: "running", kind: "live" },
  FINISHED: { glyph: "", word: "finished", kind: "done" },
  FAILED: { glyph: "✕", word: "failed", kind: "bad" },
  KILLED: { glyph: "■", word: "killed", kind: "warn" },
  SCHEDULED: { glyph: "○", word: "scheduled", kind: "done" },
}

/** The state of a run in a sign, with why it ended in words. */
export function StateGlyph({ status, cause }: { status: string; cause?: string | undefined }) {
  const state = STATES[status] ?? { glyph: "?", word: status.toLowerCase(), kind: "done" }
  const words = cause ? `${state.word}: ${visible(cause, 300)}` : state.word
  return (
    <span className={`w-run-state w-run-state-${state.kind}`} title={words}>
      <span aria-hidden="true">{state.glyph}</span>
      <span className="w-hidden-text">{words}</span>
    </span>
  )
}

/** A dot in the run's colour, with its dash as a second sign. */
export function RunDot({ colour, dash, isShown }: { colour: string; dash: Dash; isShown: boolean }) {
  return (
    <span
      className={`w-run-dot w-run-dash-${dash}${isShown ? "" : " w-run-dot-off"}`}
      style={{ "--w-run": colour } as CSSProperties}
      aria-hidden="true"
    />
  )
}

export interface RowProps {
  readonly id: string
  /** Of the row's element, which the grid names as active. */
  readonly elementId: string
  readonly row: RunRow | undefined
  readonly cells: readonly (Cell | undefined)[]
  readonly base: readonly (Cell | undefined)[] | null
  readonly columns: readonly ShownColumn[]
  readonly rowIndex: number
  readonly top: number
  readonly prefix: string
  readonly colour: string
  readonly dash: Dash
  readonly nowMs: number
  readonly said: readonly string[]
  readonly isShown: boolean
  readonly isSelected: boolean
  readonly isActive: boolean
  readonly isRaised: boolean
  readonly isPinned: boolean
  readonly isBaseline: boolean
  readonly isTable: boolean
  readonly isIndented: boolean
  readonly on: RowActions
}

export interface RowActions {
  readonly eye: (id: string) => void
  readonly solo: (id: string) => void
  readonly select: (id: string, event: MouseEvent) => void
  readonly hover: (id: string | null) => void
  readonly press: (id: string, event: MouseEvent) => void
  readonly menu: (id: string, anchor: HTMLElement) => void
}

/** One run; drawn again only when something of it is another than before. */
export const RunRowView = memo(
  (props: RowProps) =>
    props.row === undefined ? <LoadingRow {...props} /> : <KnownRow {...props} row={props.row} />,
  (before, after) =>
    (Object.keys(after) as (keyof RowProps)[]).every((name) =>
      name === "cells"
        ? after.cells.every((cell, at) => cell === before.cells[at])
        : after[name] === before[name],
    ),
)

/** A run that is not known yet: as little as can be, since a fast scroll passes thousands. */
function LoadingRow({ elementId, rowIndex, top }: RowProps) {
  return (
    <div
      id={elementId}
      role="row"
      aria-rowindex={rowIndex}
      aria-busy="true"
      className="w-run-row"
      style={{ transform: `translateY(${top}px)` }}
    >
      <div role="gridcell" className="w-run-lead" aria-label="Loading">
        <span className="w-skeleton w-run-loading" />
      </div>
    </div>
  )
}

function KnownRow(props: RowProps & { readonly row: RunRow }) {
  const { id, row, columns, cells, on, isShown, isTable } = props
  const name = shownName(row.name, id, props.prefix)
  const flags = [
    props.isActive && "w-run-active",
    props.isRaised && "w-run-raised",
    props.isSelected && "w-run-selected",
    props.isBaseline && "w-run-baseline",
    !isShown && "w-run-off",
    props.isIndented && "w-run-indented",
  ].filter(Boolean)
  return (
    <div
      id={props.elementId}
      role="row"
      aria-rowindex={props.rowIndex}
      aria-level={props.isIndented ? 2 : undefined}
      aria-selected={props.isSelected}
      className={`w-run-row ${flags.join(" ")}`}
      style={{ transform: `translateY(${props.top}px)` }}
      onMouseEnter={() => on.hover(id)}
      onMouseLeave={() => on.hover(null)}
      onClick={(event) => on.press(id, event)}
    >
      <div role="gridcell" className="w-run-lead">
        <input
          type="checkbox"
          className="w-run-check"
          tabIndex={-1}
          aria-label={`Select ${name.full}`}
          checked={props.isSelected}
          onChange={() => undefined}
          onClick={(event) => {
            event.stopPropagation()
            on.select(id, event)
          }}
        />
        <button
          type="button"
          className="w-run-eye"
          tabIndex={-1}
          aria-pressed={isShown}
          aria-label={`Draw ${name.full}`}
          title={isShown ? "Drawn; click to hide, double-click for this run alone" : "Hidden; click to draw"}
          onClick={(event) => {
            event.stopPropagation()
            on.eye(id)
          }}
          onDoubleClick={(event) => {
            event.stopPropagation()
            on.solo(id)
          }}
        >
          <Icon name={isShown ? "eye" : "eyeOff"} />
        </button>
        <RunDot colour={props.colour} dash={props.dash} isShown={isShown} />
        {props.isBaseline && (
          <span className="w-run-mark" title="Baseline">
            ★<span className="w-hidden-text">baseline</span>
          </span>
        )}
        {props.isPinned && (
          <span className="w-run-mark" title="Pinned">
            <Icon name="pin" />
            <span className="w-hidden-text">pinned</span>
          </span>
        )}
        <span className="w-run-name" title={name.full} dir="auto">
          <PlaceLink to={{ page: "run", runId: id, tab: "overview" }} tabIndex={-1} aria-label={name.full}>
            <span className="w-run-head">{name.head}</span>
            {name.tail && <span className="w-run-tail">{name.tail}</span>}
          </PlaceLink>
        </span>
        {isTable && row.cause && row.status !== "FINISHED" && (
          <span className="w-run-cause" title={visible(row.cause, 500)}>
            {visible(row.cause, 120)}
          </span>
        )}
        <StateGlyph status={row.status} cause={row.cause} />
        <IconButton
          icon="more"
          label={`Actions on ${name.full}`}
          isSmall
          className="w-run-more"
          tabIndex={-1}
          onClick={(event) => {
            event.stopPropagation()
            on.menu(id, event.currentTarget)
          }}
        />
      </div>
      {columns.map((column, at) => (
        <CellView
          key={column.name}
          column={column}
          cell={cells[at]}
          base={props.isBaseline ? undefined : props.base?.[at]}
          nowMs={props.nowMs}
          said={props.said}
        />
      ))}
    </div>
  )
}

function CellView({
  column,
  cell,
  base,
  nowMs,
  said,
}: {
  column: ShownColumn
  cell: Cell | undefined
  base: Cell | undefined
  nowMs: number
  said: readonly string[]
}) {
  const isNumber = isNumberColumn(column.name)
  const { kind, key } = parseColumn(column.name)
  const text = cellText(column.name, cell, nowMs)
  const delta =
    kind === "metrics" && base !== undefined ? deltaText(cellNumber(cell), cellNumber(base)) : ""
  const isUp = delta.startsWith("+")
  const isGood = isUp === isHigherBetter(key, said)
  const isSame = delta === "0 %" || delta === "—"
  return (
    <div
      role="gridcell"
      className={`w-run-cell${isNumber ? " w-run-number" : ""}`}
      style={{ width: column.width }}
      title={cellTitle(column.name, cell)}
      dir={isNumber ? undefined : "auto"}
    >
      <span className="w-run-value">{text}</span>
      {delta && (
        <span className={`w-run-delta${isSame ? "" : isGood ? " w-run-good" : " w-run-worse"}`}>
          {isSame ? delta : `${isUp ? "▲" : "▼"} ${delta.slice(1)}`}
        </span>
      )}
    </div>
  )
}
