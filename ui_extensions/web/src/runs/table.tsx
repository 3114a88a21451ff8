import { useVirtualizer } from "@tanstack/react-virtual"
import type { ComponentType, KeyboardEvent } from "react"
import { useCallback, useEffect, useId, useMemo, useRef, useState } from "react"

import { Button } from "../controls/button"
import { go } from "../router"
import { sharedPrefix } from "../text/names"
import { count } from "../text/format"
import { EVERYTHING } from "../view/document"
import type { Cell, RunGroup } from "./api"
import { RunIds } from "./api"
import { isSolo, setShown, solo } from "./eye"
import { GroupRow } from "./group-row"
import { TableHead } from "./head"
import type { Lines } from "./lines"
import { groupedLines, plainLines } from "./lines"
import type { RowActions, ShownColumn } from "./row"
import { RunRowView } from "./row"
import type { RowMenuProps } from "./row-menu"
import { togglePin } from "./row-menu"
import { useSteadyIds } from "./steady"
import { useWorkspace } from "./workspace-context"

const ROW_PX = 32
const REST_MS = 80
const DEFAULT_WIDTH = 120
const PINNED_WIDTH = 88
const OVERSCAN = 12

/** The list of runs: in the side bar with the pinned columns, as a table with all of them. */
export function RunsTable({ menu: RunMenu }: { menu: ComponentType<RowMenuProps> }) {
  const workspace = useWorkspace()
  const { view, list, groups, isShown, firstIds, selection, raised, raise, isTable } = workspace
  const { doc, update } = view
  const prefixId = useId()
  const scroller = useRef<HTMLDivElement>(null)
  const [active, setActive] = useState(-1)
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  const [menu, setMenu] = useState<{ id: string; anchor: HTMLElement } | null>(null)
  const lastSelected = useRef<number>(-1)

  const [presence, setPresence] = useState({ points: false, focuses: false, scrolled: false })
  const isBusy = presence.points || presence.focuses || presence.scrolled
  const steady = useSteadyIds(list.ids, list.asked, isBusy)
  const [said, say] = useState("")
  const be = (change: Partial<typeof presence>): void =>
    setPresence((before) => {
      const next = { ...before, ...change }
      return JSON.stringify(next) === JSON.stringify(before) ? before : next
    })

  const lines = useMemo<Lines>(
    () =>
      doc.groupBy.length > 0
        ? groupedLines(groups?.groups ?? [], open)
        : plainLines(steady.ids, doc.pins),
    [doc.groupBy, groups, open, steady.ids, doc.pins],
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
  // By the second, so that rows stay as they are between two seconds.
  const nowMs = Math.floor((Date.now() + list.clockMs) / 1000) * 1000
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
        onPointerEnter={() => be({ points: true })}
        onPointerLeave={() => be({ points: false })}
        onScroll={(event) => be({ scrolled: event.currentTarget.scrollTop > 0 })}
        onBlur={(event) => {
          if (!event.currentTarget.contains(event.relatedTarget)) be({ focuses: false })
        }}
        onFocus={(event) => {
          be({ focuses: true })
          if (event.target === event.currentTarget && active < 0 && lines.count > 0) setActive(0)
        }}
      >
        <TableHead columns={columns} isTable={isTable} onSay={say} />
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
            const look = workspace.lookOf(row ?? { ordinal: 0 })
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
                colour={look.colour}
                dash={look.dash}
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
      <span className="w-hidden-text" role="status">
        {said}
      </span>
      {steady.isWaiting && doc.groupBy.length === 0 && (
        <Button
          kind="primary"
          isSmall
          icon="chevronUp"
          className="w-runs-new"
          onClick={() => {
            steady.showAll()
            setActive(-1)
            scroller.current?.scrollTo({ top: 0 })
          }}
        >
          {steady.nNew === 0
            ? "Show the new order"
            : `${count(steady.nNew)} new ${steady.nNew === 1 ? "run" : "runs"}`}
        </Button>
      )}
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
