import type { ComponentType, PointerEvent, ReactNode } from "react"
import { useMemo, useRef, useState } from "react"

import { Button, IconButton } from "../controls/button"
import { SearchBox } from "../controls/input"
import type { MenuItem } from "../controls/menu"
import { Empty, Failed, Loading } from "../controls/state"
import { useAsOf } from "../data/as-of"
import { OFFERS } from "../offers"
import { count } from "../text/format"
import { treeText } from "./filter-tree"
import { visible } from "../text/visible"
import { ColourButton, ColourLegend } from "./colour-button"
import { ColumnsButton } from "./column-picker"
import { csvCell, columnTitle } from "./columns"
import { EyeMenu } from "./eye-menu"
import { FilterButton } from "./filter"
import { GroupButton, SortButton } from "./group-sort"
import { readRows } from "./api"
import type { RowMenuProps } from "./row-menu"
import { RunsTable } from "./table"
import { useWorkspace } from "./workspace-context"

const NARROWEST = 180
const WIDEST = 600
const NO_ITEMS: readonly MenuItem[] = []

/** The list of runs with its search, filter, groups, order and columns. */
export function RunsPanel({
  isPhone,
  bulk,
  menu,
  noRuns,
  eyeItems = NO_ITEMS,
}: {
  isPhone: boolean
  /** Above the list while runs are selected. */
  bulk: ReactNode
  /** Beside a run's row. */
  menu: ComponentType<RowMenuProps>
  /** Where there are no runs at all. */
  noRuns: ReactNode
  /** More in the menu of what is drawn. */
  eyeItems?: readonly MenuItem[]
}) {
  const { view, list, isShown, isTable } = useWorkspace()
  const { doc, update } = view
  const nShown = useMemo(
    () => list.first.filter((row) => isShown(row.id, row.status)).length,
    [list.first, isShown],
  )
  const { side } = doc
  const [isOpen, setOpen] = useState(false)
  if (isPhone && !isTable && !isOpen) {
    return (
      <aside className="w-runs-handle" aria-label="Runs">
        <Button icon="chevronUp" onClick={() => setOpen(true)}>
          {count(nShown)} of {count(list.ids.count)} runs shown
        </Button>
      </aside>
    )
  }
  if (side.isClosed && !isPhone && !isTable) {
    return (
      <aside className="w-runs w-runs-closed" aria-label="Runs">
        <IconButton
          icon="chevronRight"
          label="Show the runs"
          onClick={() => update({ side: { ...side, isClosed: false } })}
        />
      </aside>
    )
  }
  return (
    <aside
      className={`w-runs${isTable ? " w-runs-table" : ""}${isPhone && !isTable ? " w-runs-sheet" : ""}`}
      aria-label="Runs"
      style={isTable || isPhone ? undefined : { width: side.width }}
    >
      <div className="w-runs-tools">
        <SearchBox
          id="w-runs-search"
          label={doc.isRegex ? "Search runs by pattern" : "Search runs"}
          className="w-runs-search"
          value={doc.search}
          aria-invalid={list.fault !== null && doc.search !== "" && list.fault.position === null}
          onChange={(search) => update({ search }, "search")}
          after={
            <IconButton
              icon="more"
              label={doc.isRegex ? "Search by plain text" : "Search by regular expression"}
              isSmall
              className="w-regex"
              aria-pressed={doc.isRegex}
              onClick={() => update({ isRegex: !doc.isRegex })}
            />
          }
        />
        <div className="w-runs-buttons">
          <FilterButton />
          {OFFERS.group && <GroupButton />}
          <SortButton />
          <ColourButton />
          <ColumnsButton />
          {isTable && <ExportButton />}
        </div>
      </div>
      {list.fault && list.fault.position === null && doc.search && (
        <div role="alert" className="w-note-warn">
          {visible(list.fault.message, 200)}
        </div>
      )}
      <div className="w-runs-bar">
        <EyeMenu nShown={nShown} more={eyeItems} />
            <IconButton
              icon="expand"
              label={isTable ? "Back to the charts" : "Show as a table"}
              isSmall
              aria-pressed={isTable}
              onClick={() => update({ side: { ...side, isTable: !side.isTable } })}
            />
            {!isTable && (
              <IconButton
                icon={isPhone ? "chevronDown" : "chevronLeft"}
                label="Close the list"
                isSmall
                onClick={() =>
                  isPhone ? setOpen(false) : update({ side: { ...side, isClosed: true } })
                }
              />
            )}
      </div>
      <ColourLegend />
      {bulk}
      <ListBody menu={menu} noRuns={noRuns} />
      {!isTable && !isPhone && <Edge />}
    </aside>
  )
}

function ListBody({ menu, noRuns }: { menu: ComponentType<RowMenuProps>; noRuns: ReactNode }) {
  const { view, list, groupsError } = useWorkspace()
  const { doc, update } = view
  if (list.error && list.isFirst) {
    return <Failed what="The runs could not be read" error={list.error} onRetry={list.refresh} />
  }
  if (list.isFirst) return <Loading label="Loading the runs" rows={12} />
  const isNarrowed = doc.filter.trim() !== "" || doc.search !== "" || doc.hidesCrashed
  if (list.ids.count === 0) {
    if (list.total === 0 && !doc.showsDeleted) return noRuns
    return (
      <Empty
        action={
          isNarrowed ? (
            <Button
              isSmall
              onClick={() => update({ filter: "", search: "", isRegex: false, hidesCrashed: false })}
            >
              Clear filter and search
            </Button>
          ) : doc.showsDeleted ? (
            <Button isSmall onClick={() => update({ showsDeleted: false })}>
              Back to the active runs
            </Button>
          ) : undefined
        }
      >
        {doc.showsDeleted && !isNarrowed
          ? "No deleted runs."
          : `No run matches ${[doc.search && `“${visible(doc.search, 60)}”`, visible(treeText(list.tree), 300)].filter(Boolean).join(" and ")}.`}
      </Empty>
    )
  }
  return (
    <>
      {list.error && <Failed what="The runs could not be read" error={list.error} onRetry={list.refresh} />}
      {groupsError && <Failed what="The groups could not be read" error={groupsError} />}
      <RunsTable menu={menu} />
    </>
  )
}

const MAX_EXPORTED = 100_000
const EXPORT_SLICE = 1_000

/** The list as a CSV file: the columns that are shown, exact values. */
function ExportButton() {
  const { experimentIds, view, list, tell, columns } = useWorkspace()
  const { doc } = view
  const asOf = useAsOf()
  const save = async (): Promise<void> => {
    const names = columns.map((one) => one.name)
    const lines = [["run id", "name", "state", "started", "ended", ...names.map(columnTitle)].map(csvCell).join(",")]
    const time = (ms: number | null): string => (ms === null ? "" : new Date(ms).toISOString())
    try {
      for (let start = 0; start < Math.min(list.ids.count, MAX_EXPORTED); start += EXPORT_SLICE) {
        const ids = list.ids.slice(start, start + EXPORT_SLICE)
        for (const row of await readRows(experimentIds, ids, names, doc.showsDeleted, asOf, {})) {
          const cells = [row.id, row.name, row.status, time(row.start), time(row.end), ...row.cells]
          lines.push(cells.map((cell) => csvCell(cell === null ? "" : String(cell))).join(","))
        }
      }
    } catch (error) {
      tell({ text: `The file could not be made: ${error instanceof Error ? error.message : "?"}` })
      return
    }
    const url = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }))
    const link = document.createElement("a")
    link.href = url
    link.download = "runs.csv"
    link.click()
    window.setTimeout(() => URL.revokeObjectURL(url), 10_000)
  }
  return (
    <IconButton icon="download" label="Save as CSV" isSmall onClick={() => void save()} />
  )
}

/** The edge of the side bar: dragged, or moved with the arrow keys. */
function Edge() {
  const { view } = useWorkspace()
  const { side } = view.doc
  const start = useRef<{ x: number; width: number } | null>(null)
  const set = (width: number): void => {
    const next = Math.round(Math.min(WIDEST, Math.max(NARROWEST, width)))
    view.update({ side: { ...side, width: next } }, "side width")
  }
  return (
    <div
      className="w-runs-side-edge"
      role="separator"
      aria-orientation="vertical"
      aria-label="Width of the list"
      aria-valuenow={side.width}
      aria-valuemin={NARROWEST}
      aria-valuemax={WIDEST}
      tabIndex={0}
      onKeyDown={(event) => {
        const step = { ArrowLeft: -20, ArrowRight: 20 }[event.key]
        if (step === undefined) return
        event.preventDefault()
        set(side.width + step)
      }}
      onPointerDown={(event: PointerEvent<HTMLDivElement>) => {
        event.currentTarget.setPointerCapture(event.pointerId)
        start.current = { x: event.clientX, width: side.width }
      }}
      onPointerMove={(event) => {
        if (start.current) set(start.current.width + event.clientX - start.current.x)
      }}
      onPointerUp={() => {
        start.current = null
      }}
    />
  )
}
