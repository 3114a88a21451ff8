import { useVirtualizer } from "@tanstack/react-virtual"
import type { KeyboardEvent, MouseEvent, PointerEvent } from "react"
import { useCallback, useEffect, useId, useMemo, useRef, useState } from "react"

import { Icon } from "../controls/icon"
import { go } from "../router"
import { count, duration, number } from "../text/format"
import { visible } from "../text/visible"
import { useTheme } from "../theme"
import type { Cell, RunGroup, Summary } from "./api"
import { RunIds } from "./api"
import { runColour, runDash, slotColour } from "./colour"
import { columnTitle, isNumberColumn, parseColumn } from "./columns"
import { isSolo, setShown, solo } from "./eye"
import { groupLabel } from "./group-label"
import { RunMenu } from "./run-menu"
import { sharedPrefix } from "../text/names"
import type { RowActions, ShownColumn } from "./row"
import { RunDot, RunRowView } from "./row"
import { useWorkspace } from "./workspace-context"
import { EVERYTHING, MAX_PINS } from "../view/document"

const ROW_PX = 32
const REST_MS = 80
const DEFAULT_WIDTH = 120
const PINNED_WIDTH = 76
const OVERSCAN = 12

/** One line of the list. */
type Item =
  | { readonly kind: "run"; readonly id: string; readonly isPinned: boolean; readonly isIndented: boolean }
  | { readonly kind: "group"; readonly group: RunGroup; readonly at: number }

/** Lines of the list, made when they are looked at. */
interface Lines {
  readonly count: number
  readonly at: (index: number) => Item | null
}

function plainLines(ids: RunIds, pins: readonly string[]): Lines {
  const pinned = pins.map((id): Item => ({ kind: "run", id, isPinned: true, isIndented: false }))
  if (pins.length === 0) {
    return {
      count: ids.count,
      at: (index) => ({ kind: "run", id: ids.at(index), isPinned: false, isIndented: false }),
    }
  }
  const set = new Set(pins)
  const rest = new Int32Array(ids.count)
  let n = 0
  for (let at = 0; at < ids.count; at += 1) if (!set.has(ids.at(at))) rest[n++] = at
  return {
    count: pins.length + n,
    at: (index) =>
      pinned[index] ?? {
        kind: "run",
        id: ids.at(rest[index - pins.length] ?? 0),
        isPinned: false,
        isIndented: false,
      },
  }
}

function groupedLines(groups: readonly RunGroup[], open: ReadonlySet<string>): Lines {
  const starts: { start: number; group: RunGroup; at: number; ids: RunIds | null }[] = []
  let n = 0
  groups.forEach((group, at) => {
    const ids = open.has(JSON.stringify(group.values)) ? RunIds.decode(group.ids) : null
    starts.push({ start: n, group, at, ids })
    n += 1 + (ids?.count ?? 0)
  })
  return {
    count: n,
    at: (index) => {
      let low = 0
      let high = starts.length - 1
      while (low < high) {
        const middle = Math.ceil((low + high) / 2)
        if ((starts[middle]?.start ?? 0) <= index) low = middle
        else high = middle - 1
      }
      const found = starts[low]
      if (!found) return null
      if (found.start === index) return { kind: "group", group: found.group, at: found.at }
      const id = found.ids?.at(index - found.start - 1) ?? ""
      return { kind: "run", id, isPinned: false, isIndented: true }
    },
  }
}

/** The list of runs: in the side bar with the pinned columns, as a table with all of them. */
export function RunsTable() {
  const workspace = useWorkspace()
  const { view, list, groups, isShown, firstIds, selection, raised, raise, isTable } = workspace
  const { doc, update } = view
  const theme = useTheme()
  const prefixId = useId()
  const scroller = useRef<HTMLDivElement>(null)
  const [active, setActive] = useState(-1)
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  const [menu, setMenu] = useState<{ id: string; anchor: HTMLElement } | null>(null)
  const lastSelected = useRef<number>(-1)

  const lines = useMemo<Lines>(
    () =>
      doc.groupBy.length > 0
        ? groupedLines(groups?.groups ?? [], open)
        : plainLines(list.ids, doc.pins),
    [doc.groupBy, groups, open, list.ids, doc.pins],
  )
  const columns = useMemo<readonly ShownColumn[]>(
    () =>
      workspace.columns
        .filter((column) => isTable || column.isPinned)
        .map(({ name, width }) => ({
          name,
          width: isTable ? (width ?? DEFAULT_WIDTH) : Math.min(width ?? PINNED_WIDTH, 140),
        })),
    [workspace.columns, isTable],
  )
  const prefix = useMemo(() => sharedPrefix(list.first.map((row) => row.name)), [list.first])

  const virtual = useVirtualizer({
    count: lines.count,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: OVERSCAN,
  })
  const shown = virtual.getVirtualItems()
  const from = shown[0]?.index ?? 0
  const to = (shown.at(-1)?.index ?? -1) + 1

  // Rows are asked for when the list rests.
  const { wantIds } = list
  useEffect(() => {
    const timer = window.setTimeout(() => {
      const ids: string[] = []
      for (let at = Math.max(0, from - 20); at < Math.min(to + 40, lines.count); at += 1) {
        const item = lines.at(at)
        if (item?.kind === "run") ids.push(item.id)
      }
      if (doc.baseline) ids.push(doc.baseline)
      wantIds(ids)
    }, from === 0 ? 0 : REST_MS)
    return () => window.clearTimeout(timer)
  }, [from, to, lines, wantIds, doc.baseline, columns])

  const statusOf = useCallback((id: string) => list.row(id)?.status ?? "", [list])
  const toggleEye = useCallback(
    (ids: readonly string[], shows: boolean): void => {
      const runs = ids.map((id) => ({ id, status: statusOf(id) }))
      update({ eye: setShown(doc.eye, runs, shows, firstIds) })
    },
    [doc.eye, firstIds, statusOf, update],
  )
  const toggleSolo = useCallback(
    (id: string): void => update({ eye: isSolo(doc.eye, id) ? EVERYTHING : solo([id]) }),
    [doc.eye, update],
  )

  const selectRange = useCallback(
    (index: number, event: { shiftKey: boolean }): void => {
      const item = lines.at(index)
      if (item?.kind !== "run") return
      if (event.shiftKey && lastSelected.current >= 0) {
        const [low, high] = [lastSelected.current, index].sort((a, b) => a - b) as [number, number]
        const ids = new Set(selection.ids)
        for (let at = low; at <= high; at += 1) {
          const one = lines.at(at)
          if (one?.kind === "run") ids.add(one.id)
        }
        selection.set(ids)
      } else {
        selection.toggle(item.id)
      }
      lastSelected.current = index
    },
    [lines, selection],
  )
  const indexOf = useCallback(
    (id: string): number => {
      for (let at = from; at < to; at += 1) {
        const item = lines.at(at)
        if (item?.kind === "run" && item.id === id) return at
      }
      return -1
    },
    [from, to, lines],
  )

  const actions = useRef<RowActions | null>(null)
  const current: RowActions = {
    eye: (id) => toggleEye([id], !isShown(id, statusOf(id))),
    solo: toggleSolo,
    select: (id, event) => selectRange(indexOf(id), event),
    hover: raise,
    press: (id, event) => {
      if ((event.target as Element).closest("a,button,input")) return
      const index = indexOf(id)
      setActive(index)
      if (event.ctrlKey || event.metaKey || event.shiftKey) selectRange(index, event)
      else raise(id)
    },
    menu: (id, anchor) => setMenu({ id, anchor }),
  }
  const newest = useRef(current)
  newest.current = current
  // One object for all rows and renders, so that rows whose data did not change stay as they are.
  actions.current ??= {
    eye: (id) => newest.current.eye(id),
    solo: (id) => newest.current.solo(id),
    select: (id, event) => newest.current.select(id, event),
    hover: (id) => newest.current.hover(id),
    press: (id, event) => newest.current.press(id, event),
    menu: (id, anchor) => newest.current.menu(id, anchor),
  }

  const toggleGroup = (group: RunGroup): void => {
    const key = JSON.stringify(group.values)
    const next = new Set(open)
    if (!next.delete(key)) next.add(key)
    setOpen(next)
  }

  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>): void => {
    if (event.target !== event.currentTarget || event.metaKey || event.ctrlKey || event.altKey) return
    const move = (to: number): void => {
      const next = Math.max(0, Math.min(lines.count - 1, to))
      setActive(next)
      virtual.scrollToIndex(next)
      const item = lines.at(next)
      raise(item?.kind === "run" ? item.id : null)
    }
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? ROW_PX) / ROW_PX) - 1)
    const item = active >= 0 ? lines.at(active) : null
    const key = event.key
    const moves: Record<string, number> = {
      ArrowDown: active + 1,
      j: active + 1,
      ArrowUp: active - 1,
      k: active - 1,
      Home: 0,
      End: lines.count - 1,
      PageDown: active + page,
      PageUp: active - page,
    }
    const target = moves[key]
    if (target !== undefined) {
      event.preventDefault()
      move(target)
      return
    }
    if (item === null) return
    if (item.kind === "group") {
      if (key === "Enter" || key === "ArrowRight" || key === "ArrowLeft") toggleGroup(item.group)
      else if (key === " ") toggleEye(...groupEye(item.group))
      else return
      event.preventDefault()
      return
    }
    const { id } = item
    const done: Record<string, () => void> = {
      " ": () => current.eye(id),
      s: () => toggleSolo(id),
      v: () => selectRange(active, { shiftKey: false }),
      V: () => selectRange(active, { shiftKey: true }),
      p: () => update({ pins: togglePin(doc.pins, id) }),
      b: () => update({ baseline: doc.baseline === id ? null : id }),
      Enter: () => go({ page: "run", runId: id, tab: "overview" }),
      ContextMenu: () => openMenu(id),
      m: () => openMenu(id),
    }
    const act = done[key]
    if (act === undefined) return
    event.preventDefault()
    event.stopPropagation()
    act()
  }
  const openMenu = (id: string): void => {
    const anchor = document.getElementById(rowId(id))
    if (anchor) setMenu({ id, anchor })
  }
  const rowId = (id: string): string => `${prefixId}${id}`
  const groupEye = (group: RunGroup): [readonly string[], boolean] => {
    const ids = RunIds.decode(group.ids)
    const all = ids.slice(0, ids.count)
    return [all, !all.some((id) => isShown(id, statusOf(id)))]
  }

  const activeItem = active >= 0 && active < lines.count ? lines.at(active) : null
  const activeId =
    activeItem === null
      ? undefined
      : activeItem.kind === "run"
        ? rowId(activeItem.id)
        : `${prefixId}g${activeItem.at}`
  const base = doc.baseline
    ? columns.map((column) => list.cell(doc.baseline ?? "", column.name))
    : null
  const nowMs = Date.now() + list.clockMs
  const width = columns.reduce((sum, column) => sum + column.width, 0)
  return (
    <div className={`w-runs-list${isTable ? " w-runs-wide" : ""}`}>
      <div
        ref={scroller}
        className="w-runs-scroll"
        role={doc.groupBy.length > 0 ? "treegrid" : "grid"}
        aria-label="Runs"
        aria-rowcount={lines.count + 1}
        aria-multiselectable="true"
        aria-activedescendant={activeId}
        tabIndex={0}
        onKeyDown={onKeyDown}
        onFocus={(event) => {
          if (event.target === event.currentTarget && active < 0 && lines.count > 0) setActive(0)
        }}
      >
        <TableHead columns={columns} isTable={isTable} />
        <div
          role="rowgroup"
          className="w-runs-rows"
          style={{ height: virtual.getTotalSize(), minWidth: isTable ? `calc(var(--w-lead) + ${width}px)` : undefined }}
        >
          {shown.map(({ index, start }) => {
            const item = lines.at(index)
            if (item === null) return null
            if (item.kind === "group") {
              return (
                <GroupRow
                  key={`g${item.at}`}
                  elementId={`${prefixId}g${item.at}`}
                  group={item.group}
                  at={item.at}
                  top={start}
                  rowIndex={index + 2}
                  columns={columns}
                  isOpen={open.has(JSON.stringify(item.group.values))}
                  isActive={index === active}
                  onOpen={() => toggleGroup(item.group)}
                  onEye={() => toggleEye(...groupEye(item.group))}
                />
              )
            }
            const { id } = item
            const row = list.row(id)
            const identity = row ?? { ordinal: 0 }
            return (
              <RunRowView
                key={item.isIndented ? `${index} ${id}` : id}
                id={id}
                elementId={rowId(id)}
                row={row}
                cells={columns.map((column): Cell | undefined => list.cell(id, column.name))}
                base={base}
                columns={columns}
                rowIndex={index + 2}
                top={start}
                prefix={prefix}
                colour={runColour(identity, theme)}
                dash={runDash(identity)}
                nowMs={nowMs}
                said={doc.higherIsBetter}
                isShown={isShown(id, row?.status ?? "")}
                isSelected={selection.ids.has(id)}
                isActive={index === active}
                isRaised={raised === id}
                isPinned={item.isPinned}
                isBaseline={doc.baseline === id}
                isTable={isTable}
                isIndented={item.isIndented}
                on={actions.current as RowActions}
              />
            )
          })}
        </div>
      </div>
      {menu && (
        <RunMenu
          id={menu.id}
          anchor={menu.anchor}
          onClose={() => {
            setMenu(null)
            scroller.current?.focus()
          }}
        />
      )}
    </div>
  )
}

export function togglePin(pins: readonly string[], id: string): string[] {
  return pins.includes(id) ? pins.filter((one) => one !== id) : [...pins, id].slice(-MAX_PINS)
}

/** The heads of the columns: click sorts, drag at the edge resizes, arrows with Alt move. */
function TableHead({ columns, isTable }: { columns: readonly ShownColumn[]; isTable: boolean }) {
  const { view, columns: all } = useWorkspace()
  const { doc, update } = view
  const [lead = ""] = doc.order
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
  const resize = (name: string, width: number): void =>
    update(
      { columns: all.map((one) => (one.name === name ? { ...one, width } : one)) },
      `width ${name}`,
    )
  const isSorted = (name: string): "ascending" | "descending" | "none" =>
    lead === name ? "ascending" : lead === `-${name}` ? "descending" : "none"
  if (!isTable && columns.length === 0) return null
  const heads = [{ name: "attributes.run_name", width: 0 }, ...columns]
  return (
    <div role="rowgroup" className="w-runs-head">
      <div role="row" aria-rowindex={1} className="w-runs-head-row">
        {heads.map(({ name, width }, at) => {
          const state = isSorted(name)
          return (
            <div
              key={name}
              role="columnheader"
              aria-sort={state}
              className={`${at === 0 ? "w-run-lead" : "w-run-cell"}${isNumberColumn(name) ? " w-run-number" : ""}`}
              style={at === 0 ? undefined : { width }}
            >
              <button
                type="button"
                className="w-runs-sort"
                tabIndex={-1}
                title={`${columnTitle(name)}: sort`}
                onClick={(event) => sort(name, event)}
              >
                <span className="w-cut">{columnTitle(name)}</span>
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

function ResizeEdge({ width, onResize }: { width: number; onResize: (width: number) => void }) {
  const start = useRef<{ x: number; width: number } | null>(null)
  const move = (event: PointerEvent): void => {
    if (start.current === null) return
    const next = start.current.width + event.clientX - start.current.x
    onResize(Math.round(Math.max(48, Math.min(800, next))))
  }
  return (
    <span
      className="w-runs-edge"
      aria-hidden="true"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId)
        start.current = { x: event.clientX, width }
      }}
      onPointerMove={move}
      onPointerUp={() => {
        start.current = null
      }}
    />
  )
}

function summaryText(name: string, summary: Summary | null, isShort: boolean): string {
  if (summary === null) return ""
  if (summary.value !== undefined) return visible(summary.value, 80)
  if (summary.distinct !== undefined) return `${count(summary.distinct)} distinct`
  if (summary.mean === undefined || summary.mean === null) return "NaN"
  const { kind, key } = parseColumn(name)
  if (kind === "attributes" && key !== "duration") return ""
  const show = key === "duration" ? duration : (value: number) => number(value, 3)
  const mean = show(summary.mean)
  return summary.sd && !isShort ? `${mean} ± ${show(Number(summary.sd.toPrecision(2)))}` : mean
}

function GroupRow({
  elementId,
  group,
  at,
  top,
  rowIndex,
  columns,
  isOpen,
  isActive,
  onOpen,
  onEye,
}: {
  elementId: string
  group: RunGroup
  at: number
  top: number
  rowIndex: number
  columns: readonly ShownColumn[]
  isOpen: boolean
  isActive: boolean
  onOpen: () => void
  onEye: () => void
}) {
  const { columns: all, list, isShown, isTable } = useWorkspace()
  const theme = useTheme()
  const label = groupLabel(group)
  const nShown = useMemo(() => {
    const ids = RunIds.decode(group.ids)
    let n = 0
    for (let i = 0; i < ids.count; i += 1) {
      const id = ids.at(i)
      if (isShown(id, list.row(id)?.status ?? "")) n += 1
    }
    return n
  }, [group, isShown, list])
  const names = all.map((one) => one.name)
  const members = nShown === group.n ? count(group.n) : `${count(nShown)} of ${count(group.n)}`
  return (
    <div
      id={elementId}
      role="row"
      aria-rowindex={rowIndex}
      aria-level={1}
      aria-expanded={isOpen}
      className={`w-run-row w-group-row${isActive ? " w-run-active" : ""}`}
      style={{ transform: `translateY(${top}px)` }}
    >
      <div role="gridcell" className="w-run-lead">
        <button
          type="button"
          className="w-group-open"
          tabIndex={-1}
          aria-label={`${isOpen ? "Close" : "Open"} ${label}`}
          onClick={onOpen}
        >
          <Icon name={isOpen ? "chevronDown" : "chevronRight"} />
        </button>
        <button
          type="button"
          className="w-run-eye"
          tabIndex={-1}
          aria-pressed={nShown > 0}
          aria-label={`Draw the runs of ${label}`}
          onClick={onEye}
        >
          <Icon name={nShown > 0 ? "eye" : "eyeOff"} />
        </button>
        <RunDot colour={slotColour(at, theme)} dash={0} isShown={nShown > 0} />
        <span className="w-run-name" title={label} dir="auto">
          {label}
        </span>
        <span className="w-group-n">{members}</span>
      </div>
      {columns.map((column) => {
        const summary = group.cells[names.indexOf(column.name)] ?? null
        const text = summaryText(column.name, summary, !isTable)
        const full = summaryText(column.name, summary, false)
        return (
          <div
            key={column.name}
            role="gridcell"
            className={`w-run-cell${isNumberColumn(column.name) ? " w-run-number" : ""}`}
            style={{ width: column.width }}
            title={summary?.min === undefined ? full : `${full} (${summary.min} to ${summary.max})`}
          >
            <span className="w-run-value">{text}</span>
          </div>
        )
      })}
    </div>
  )
}
