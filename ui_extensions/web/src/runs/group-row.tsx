import { useMemo } from "react"

import { Icon } from "../controls/icon"
import { count, duration, number } from "../text/format"
import { visible } from "../text/visible"
import { useTheme } from "../theme"
import type { RunGroup, Summary } from "./api"
import { RunIds } from "./api"
import { slotColour } from "./colour"
import { isNumberColumn, parseColumn } from "./columns"
import { groupLabel } from "./group-label"
import type { ShownColumn } from "./row"
import { RunDot } from "./row"
import { useWorkspace } from "./workspace-context"

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

/** One group: what its runs have in common, and their mean in each column. */
export function GroupRow({
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
