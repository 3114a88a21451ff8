import { useCallback, useMemo, useRef, useState } from "react"

import { useAnswer } from "../api/use-answer"
import type { KeysAnswer } from "../charts/grid"
import { ChartGrid } from "../charts/grid"
import { comparedSection } from "../charts/sections"
import { ChartToolbar } from "../charts/toolbar"
import type { CardKind, ChartSettings, DrawnRun, GridLayout, RunGroup } from "../charts/types"
import { layoutOf, settingsOf } from "../charts/types"
import { SearchBox } from "../controls/input"
import { Button } from "../controls/button"
import { ErrorBoundary } from "../controls/state"
import { count } from "../text/format"
import { useTheme } from "../theme"
import { RunIds } from "./api"
import { slotColour } from "./colour"
import { groupLabel } from "./group-label"
import { useWorkspace } from "./workspace-context"

/** The charts beside the list: the same runs, eyes, groups and colours. */
export function Charts({
  hasPanel,
}: {
  /** Of which kinds panels are there though nobody made them; of all where it is left out. */
  hasPanel?: (kind: CardKind) => boolean
}) {
  const first = useMemo(() => comparedSection(hasPanel), [hasPanel])
  const { experimentIds, view, list, groups, isShown, lookOf, firstIds, raised, raise } = useWorkspace()
  const { doc, update } = view
  const theme = useTheme()
  const before = useRef<readonly DrawnRun[]>([])
  const runs = useMemo(() => {
    const pinned = doc.pins.filter((id) => list.row(id) !== undefined)
    const found = [...new Set([...pinned, ...firstIds])].map((id): DrawnRun => {
      const row = list.row(id)
      if (row === undefined) return pendingRun(id, isShown(id, ""))
      return {
        id,
        name: row.name,
        ordinal: row.ordinal,
        ...lookOf(row),
        status: row.status,
        startMs: row.start,
        endMs: row.end,
        isVisible: isShown(id, row.status),
        experimentId: row.experiment,
      }
    })
    before.current = keepSame(before.current, found)
    return before.current
    // Rows are looked up; they are new when the first ones are.
  }, [doc.pins, firstIds, list.first, isShown, lookOf])
  const isGrouped = doc.groupBy.length > 0
  const drawnGroups = useMemo<RunGroup[] | null>(() => {
    if (!isGrouped || groups === null) return null
    const shown = new Set(runs.filter((run) => run.isVisible).map((run) => run.id))
    return groups.groups.flatMap((group, at) => {
      const ids = RunIds.decode(group.ids)
      const runIds = ids.slice(0, ids.count).filter((id) => shown.has(id))
      if (runIds.length === 0) return []
      const key = JSON.stringify(group.values)
      return [{ key, label: groupLabel(group), colour: slotColour(at, theme), runIds }]
    })
  }, [isGrouped, groups, runs, theme])
  const kept = useMemo(() => settingsOf(doc.settings), [doc.settings])
  const settings = useMemo<ChartSettings>(
    () => ({ ...kept, groups: drawnGroups, centre: doc.centre, band: doc.band }),
    [kept, drawnGroups, doc.centre, doc.band],
  )
  const layout = useMemo(() => layoutOf(doc.layout), [doc.layout])
  const onSettings = useCallback(
    (patch: Partial<ChartSettings>) => {
      // The groups are the runs', and centre and band have places of their own.
      const { groups: _, centre, band, ...rest } = patch
      const { groups: __, centre: ___, band: ____, ...own } = kept
      update(
        {
          settings: { ...own, ...rest },
          ...(centre ? { centre } : {}),
          ...(band ? { band } : {}),
        },
        `charts ${Object.keys(patch).join()}`,
      )
    },
    [kept, update],
  )
  const onLayout = useCallback((next: GridLayout) => update({ layout: next }, "layout"), [update])
  const keys = useAnswer<KeysAnswer>("keys", { experiments: experimentIds })
  const names = useMemo(() => keys.data?.keys.map((one) => one.key) ?? [], [keys.data])
  const [isAdding, add] = useState(false)
  const nMore = list.ids.count - list.first.length
  return (
    <section className="w-charts" aria-label="Charts">
      <div className="w-charts-bar">
        <SearchBox
          id="w-chart-search"
          label="Search charts"
          value={doc.chartSearch}
          onChange={(chartSearch) => update({ chartSearch }, "chart search")}
        />
        <ChartToolbar settings={settings} onSettings={onSettings} keys={names} />
        <Button className="w-add-panel" icon="plus" title="Add panel" onClick={() => add(true)}>
          Add panel
        </Button>
      </div>
      {nMore > 0 && list.first.length >= 1_000 && (
        <p className="w-note-warn">
          The first {count(list.first.length)} of {count(list.ids.count)} runs are drawn.{" "}
          <Button
            isSmall
            onClick={() => update({ eye: { base: "top", n: 50, shown: [], hidden: [] } })}
          >
            Only the first 50
          </Button>
        </p>
      )}
      <div className="w-charts-scroll">
        <ErrorBoundary what="The charts" resetKey={JSON.stringify(doc.layout)}>
          <ChartGrid
            experimentIds={experimentIds}
            runs={runs}
            settings={settings}
            onSettings={onSettings}
            layout={layout}
            onLayout={onLayout}
            search={doc.chartSearch}
            raised={raised}
            onRaise={raise}
            live={list.live.isOn}
            metricKeys={keys}
            first={first}
            isAdding={isAdding}
            onAdded={() => add(false)}
          />
        </ErrorBoundary>
      </div>
    </section>
  )
}

/** A run whose row is under way: its series need not wait for its name. */
function pendingRun(id: string, isVisible: boolean): DrawnRun {
  return {
    id,
    name: "",
    ordinal: 0,
    colour: "",
    dash: 0,
    status: "",
    startMs: null,
    endMs: null,
    isVisible,
    experimentId: "",
    isPending: true,
  }
}

/** By name, not by a loop over them: a click on an eye compares a thousand. */
function isSameRun(one: DrawnRun, other: DrawnRun): boolean {
  return (
    one.isVisible === other.isVisible &&
    one.isPending === other.isPending &&
    one.name === other.name &&
    one.ordinal === other.ordinal &&
    one.colour === other.colour &&
    one.dash === other.dash &&
    one.status === other.status &&
    one.startMs === other.startMs &&
    one.endMs === other.endMs &&
    one.experimentId === other.experimentId
  )
}

/** Runs that are as they were are the same objects, and all of them the same list. */
export function keepSame(before: readonly DrawnRun[], now: readonly DrawnRun[]): readonly DrawnRun[] {
  const old = new Map(before.map((run) => [run.id, run]))
  const kept = now.map((run) => {
    const was = old.get(run.id)
    return was && isSameRun(was, run) ? was : run
  })
  const isSame = kept.length === before.length && kept.every((run, at) => run === before[at])
  return isSame ? before : kept
}
