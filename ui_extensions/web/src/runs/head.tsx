import "./head.css"

import type { KeyboardEvent, MouseEvent, PointerEvent } from "react"
import { useRef, useState } from "react"

import { Icon } from "../controls/icon"
import { count } from "../text/format"
import { Name } from "../text/name"
import { shownName } from "../text/names"
import type { ColumnChoice } from "../view/document"
import { columnTitle, isNumberColumn, movedColumn } from "./columns"
import type { ShownColumn } from "./row"
import { useWorkspace } from "./workspace-context"

const NAME = "attributes.run_name"
const DRAG_FROM_PX = 5
const EDGE_PX = 48
const SCROLL_PX = 16
const RESIZE_STEP_PX = 16
const NARROWEST = 48
const WIDEST = 800

interface Drag {
  readonly name: string
  readonly fromX: number
  readonly isMoving: boolean
  /** The column it would stand before; null for the end. */
  readonly before: string | null
}

/**
 * The heads of the columns: a click sorts, dragging moves. By keyboard: arrows go through the heads,
 * Enter sorts, Alt and an arrow move the column, Shift and an arrow change its width.
 */
export function TableHead({
  columns,
  isTable,
  onSay,
}: {
  columns: readonly ShownColumn[]
  isTable: boolean
  /** For who cannot see where a column has gone. */
  onSay: (words: string) => void
}) {
  const { view, columns: all } = useWorkspace()
  const { doc, update } = view
  const [lead = ""] = doc.order
  const [focused, setFocused] = useState(NAME)
  const [drag, setDrag] = useState<Drag | null>(null)
  const row = useRef<HTMLDivElement>(null)
  const wasDragged = useRef(false)
  const names = columns.map((one) => one.name)
  const stop = names.includes(focused) ? focused : NAME

  const sort = (name: string, event: MouseEvent): void => {
    const term = lead.replace(/^-/, "")
    const isNumber = isNumberColumn(name)
    // Numbers first largest, text first from its beginning; the third click takes the order away.
    const first = isNumber ? `-${name}` : name
    const second = isNumber ? name : `-${name}`
    const next = term !== name ? first : lead === first ? second : null
    const others = event.shiftKey ? doc.order.filter((one) => one.replace(/^-/, "") !== name) : []
    update({ order: [...(next === null ? [] : [next]), ...others].slice(0, 5) })
  }
  const resize = (name: string, width: number): void => {
    const next = Math.round(Math.max(NARROWEST, Math.min(WIDEST, width)))
    const wide = (one: ColumnChoice): ColumnChoice => (one.name === name ? { ...one, width: next } : one)
    update({ columns: all.map(wide) }, `width ${name}`)
  }
  const place = (name: string, before: string | null): void => {
    const next = movedColumn(all, name, before)
    if (next !== null) update({ columns: next })
  }
  const isSorted = (name: string): "ascending" | "descending" | "none" =>
    lead === name ? "ascending" : lead === `-${name}` ? "descending" : "none"

  const onKeyDown = (event: KeyboardEvent<HTMLButtonElement>, name: string, width: number): void => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (by === undefined || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    event.stopPropagation()
    const at = names.indexOf(name)
    if (event.altKey) {
      const to = at + by
      if (at < 0 || to < 0 || to >= names.length) return
      place(name, by < 0 ? (names[to] ?? null) : (names[to + 1] ?? null))
      onSay(`${columnTitle(name)}, column ${count(to + 1)} of ${count(names.length)}`)
    } else if (event.shiftKey) {
      if (at >= 0 && isTable) resize(name, width + by * RESIZE_STEP_PX)
    } else {
      const next = [NAME, ...names][at + 1 + by]
      if (next === undefined) return
      setFocused(next)
      headOf(row.current, next)?.querySelector("button")?.focus()
    }
  }

  const onPointerMove = (event: PointerEvent<HTMLButtonElement>): void => {
    if (drag === null) return
    const isMoving = drag.isMoving || Math.abs(event.clientX - drag.fromX) > DRAG_FROM_PX
    if (!isMoving) return
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) {
      event.currentTarget.setPointerCapture(event.pointerId)
    }
    scrollAtEdge(row.current, event.clientX)
    const before = names.find((name) => {
      const at = headOf(row.current, name)?.getBoundingClientRect()
      return at !== undefined && event.clientX < at.left + at.width / 2
    })
    setDrag({ ...drag, isMoving, before: before ?? null })
  }
  const onPointerUp = (): void => {
    if (drag?.isMoving) {
      wasDragged.current = true
      place(drag.name, drag.before)
    }
    setDrag(null)
  }

  if (!isTable && columns.length === 0) return null
  const heads = [{ name: NAME, width: 0 }, ...columns]
  return (
    <div role="rowgroup" className="w-runs-head">
      <div ref={row} role="row" aria-rowindex={1} className="w-runs-head-row">
        {heads.map(({ name, width }, at) => {
          const state = isSorted(name)
          const title = columnTitle(name)
          const flags = [
            at === 0 ? "w-run-lead" : "w-run-cell",
            isNumberColumn(name) && "w-run-number",
            drag?.isMoving && drag.name === name && "w-head-dragged",
            drag?.isMoving && drag.before === name && "w-head-before",
            drag?.isMoving && drag.before === null && at === heads.length - 1 && "w-head-after",
          ]
          return (
            <div
              key={name}
              role="columnheader"
              aria-sort={state}
              data-column={name}
              className={flags.filter(Boolean).join(" ")}
              style={at === 0 ? undefined : { width }}
            >
              <button
                type="button"
                className="w-runs-sort"
                tabIndex={name === stop ? 0 : -1}
                // Of what is divided, readers hear the whole.
                aria-label={shownName(title, "", "").tail === "" ? undefined : title}
                title={`${title}: sort${at > 0 ? "; drag, or Alt and an arrow, to move" : ""}`}
                onFocus={() => setFocused(name)}
                onKeyDown={(event) => {
                  if (event.key === "Escape" && drag !== null) setDrag(null)
                  else onKeyDown(event, name, width)
                }}
                onClick={(event) => {
                  if (!wasDragged.current) sort(name, event)
                  wasDragged.current = false
                }}
                onPointerDown={(event) => {
                  wasDragged.current = false
                  if (at === 0 || event.button !== 0) return
                  setDrag({ name, fromX: event.clientX, isMoving: false, before: name })
                }}
                onPointerMove={onPointerMove}
                onPointerUp={onPointerUp}
                onPointerCancel={() => setDrag(null)}
              >
                <Name text={title} title={null} />
                {state !== "none" && (
                  <Icon name={state === "ascending" ? "chevronUp" : "chevronDown"} />
                )}
              </button>
              {at > 0 && isTable && <ResizeEdge width={width} onResize={(w) => resize(name, w)} />}
            </div>
          )
        })}
      </div>
    </div>
  )
}

function headOf(row: HTMLElement | null, name: string): HTMLElement | null {
  const heads = row?.querySelectorAll<HTMLElement>("[data-column]") ?? []
  return [...heads].find((head) => head.dataset.column === name) ?? null
}

/** A column that is dragged to the list's edge brings what lies beyond into view. */
function scrollAtEdge(row: HTMLElement | null, x: number): void {
  const scroller = row?.closest(".w-runs-scroll")
  if (!scroller) return
  const { left, right } = scroller.getBoundingClientRect()
  if (x > right - EDGE_PX) scroller.scrollLeft += SCROLL_PX
  else if (x < left + EDGE_PX) scroller.scrollLeft -= SCROLL_PX
}

function ResizeEdge({ width, onResize }: { width: number; onResize: (width: number) => void }) {
  const start = useRef<{ x: number; width: number } | null>(null)
  return (
    <span
      className="w-runs-edge"
      aria-hidden="true"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId)
        start.current = { x: event.clientX, width }
      }}
      onPointerMove={(event) => {
        if (start.current) onResize(start.current.width + event.clientX - start.current.x)
      }}
      onPointerUp={() => {
        start.current = null
      }}
    />
  )
}
