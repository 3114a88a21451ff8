import "../runs/runs.css"
import "../runs/compare.css"

import { useVirtualizer } from "@tanstack/react-virtual"
import { useMemo, useRef, useState } from "react"

import { useAnswer, useAsked } from "../api/use-answer"
import { IconButton, Segments } from "../controls/button"
import { Checkbox, SearchBox } from "../controls/input"
import { Empty, Failed, Loading } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { Page } from "../layout/page"
import { StockLink } from "../layout/stock-link"
import { setQuery, useRoute } from "../router"
import { fuzzyScore } from "../text/fuzzy"
import { runColour, runDash } from "../runs/colour"
import { CompareRow } from "../runs/compare-row"
import type { ComparedRun, Section } from "../runs/comparison"
import { compare, readCompared, SECTIONS } from "../runs/comparison"
import { RunDot, StateGlyph } from "../runs/row"
import { VisibilityBadge } from "../teams/badge"
import { count } from "../text/format"
import { Name } from "../text/name"
import { sharedPrefix } from "../text/names"
import { NAME_LENGTH, visible } from "../text/visible"
import { useTheme } from "../theme"

const RUN_ID = /^[0-9a-f]{32}$/
const MOST = 50
const ROW_PX = 32

/** Runs side by side: what differs, and by how much against a baseline. */
export function Compare({ experimentIds }: { experimentIds: string[] }) {
  const { query } = useRoute()
  const asked = [...new Set((query.get("runs") ?? "").split(",").filter((id) => RUN_ID.test(id)))]
  const ids = asked.slice(0, MOST)
  const answer = useAsked(ids.length > 0 ? JSON.stringify([experimentIds, [...ids].sort()]) : null, ({ signal }) =>
    readCompared(experimentIds, ids, null, signal ? { signal } : {}),
  )
  const set = (change: Record<string, string | null>): void => {
    const next = new URLSearchParams(query)
    for (const [key, value] of Object.entries(change)) {
      if (value === null) next.delete(key)
      else next.set(key, value)
    }
    setQuery(next, { push: false })
  }
  const runs = useMemo(() => {
    const found = new Map((answer.data ?? []).map((run) => [run.id, run]))
    return ids.flatMap((id) => found.get(id) ?? [])
  }, [answer.data, ids.join()])
  const names = useAnswer<{ experiments: readonly { id: string; name: string }[] }>("experiments/names", {
    experiments: experimentIds,
  })
  const [first = "0"] = experimentIds
  const name = names.data?.experiments[0]?.name ?? `Experiment ${first}`
  return (
    <Page
      id={`/e/${experimentIds.join(",")}/compare`}
      title={`Compare ${count(ids.length)} runs`}
      isPadded={false}
      beside={
        experimentIds.length === 1 && <VisibilityBadge experimentId={first} name={name} />
      }
      crumbs={[
        {
          key: "experiment",
          content:
            experimentIds.length === 1 ? (
              <StockLink to={`/experiments/${first}/runs`} title={visible(name)}>
                {visible(name, NAME_LENGTH)}
              </StockLink>
            ) : (
              <span title={names.data?.experiments.map((one) => visible(one.name, 80)).join(", ")}>
                {count(experimentIds.length)} experiments
              </span>
            ),
        },
        {
          key: "workspace",
          content: <PlaceLink to={{ page: "workspace", experimentIds }}>Workspace</PlaceLink>,
        },
      ]}
    >
      {ids.length === 0 ? (
        <Empty
          action={<PlaceLink to={{ page: "workspace", experimentIds }}>To the workspace</PlaceLink>}
        >
          Select two runs or more in the workspace, and then Compare.
        </Empty>
      ) : answer.error && !answer.data ? (
        <Failed what="The runs could not be read" error={answer.error} onRetry={answer.retry} />
      ) : !answer.data ? (
        <Loading label="Loading the runs" rows={12} />
      ) : (
        <Comparison
          runs={runs}
          nMissing={ids.length - runs.length}
          baseline={query.get("base")}
          isDifferencesOnly={query.get("d") !== "0"}
          section={SECTIONS.find((one) => one.value === query.get("part"))?.value ?? null}
          onSet={set}
        />
      )}
    </Page>
  )
}

function Comparison({
  runs,
  nMissing,
  baseline,
  isDifferencesOnly,
  section,
  onSet,
}: {
  runs: readonly ComparedRun[]
  nMissing: number
  baseline: string | null
  isDifferencesOnly: boolean
  section: Section | null
  onSet: (change: Record<string, string | null>) => void
}) {
  const [search, setSearch] = useState("")
  const scroller = useRef<HTMLDivElement>(null)
  const lines = useMemo(() => compare(runs), [runs])
  const base = runs.findIndex((run) => run.id === baseline)
  const prefix = useMemo(() => sharedPrefix(runs.map((run) => run.name)), [runs])
  const shown = useMemo(() => {
    const wanted = search.trim().toLowerCase()
    return lines.filter(
      (line) =>
        (!isDifferencesOnly || line.differs) &&
        (section === null || line.section === section) &&
        fuzzyScore(line.key, wanted) > 0,
    )
  }, [lines, search, isDifferencesOnly, section])
  const nDiffering = lines.filter((line) => line.differs).length
  const virtual = useVirtualizer({
    count: shown.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: 20,
  })
  const move = (from: number, to: number): void => {
    const ids = runs.map((run) => run.id)
    const [one] = ids.splice(from, 1)
    if (one === undefined || to < 0 || to > ids.length) return
    ids.splice(to, 0, one)
    onSet({ runs: ids.join(",") })
  }
  const drop = (id: string): void => {
    onSet({ runs: runs.map((run) => run.id).filter((one) => one !== id).join(",") })
  }
  const items = virtual.getVirtualItems()
  return (
    <div
      className="w-beside"
      onKeyDown={(event) => {
        if (event.key !== "d" || event.target instanceof HTMLInputElement) return
        onSet({ d: isDifferencesOnly ? "0" : null })
      }}
    >
      <div className="w-beside-tools">
        <Checkbox
          label="Differences only"
          isChecked={isDifferencesOnly}
          onChange={(isChecked) => onSet({ d: isChecked ? null : "0" })}
        />
        <SearchBox label="Search keys" value={search} onChange={setSearch} />
        <Segments
          label="What is compared"
          options={[{ value: "all", label: "All" }, ...SECTIONS]}
          value={section ?? "all"}
          onChange={(value) => onSet({ part: value === "all" ? null : value })}
        />
        <span className="w-hint" role="status">
          {count(shown.length)} of {count(lines.length)} rows
          {nMissing > 0 && `; ${count(nMissing)} runs are not there`}
        </span>
      </div>
      {runs.length > 1 && nDiffering === 0 && isDifferencesOnly ? (
        <Empty>These runs are equal but for time.</Empty>
      ) : (
        <div className="w-beside-scroll" ref={scroller} tabIndex={0} role="region" aria-label="Comparison">
          <table className="w-beside-table" aria-rowcount={shown.length + 1}>
            <thead>
              <tr>
                <th scope="col" className="w-beside-key">
                  Key
                </th>
                {runs.map((run, at) => (
                  <RunHead
                    key={run.id}
                    run={run}
                    prefix={prefix}
                    isBaseline={at === base}
                    isFirst={at === 0}
                    isLast={at === runs.length - 1}
                    onBaseline={() => onSet({ base: at === base ? null : run.id })}
                    onMove={(by) => move(at, at + by)}
                    onDrop={() => drop(run.id)}
                  />
                ))}
              </tr>
            </thead>
            <tbody>
              <Spacer height={items[0]?.start ?? 0} columns={runs.length + 1} />
              {items.map(({ index }) => {
                const line = shown[index]
                if (!line) return null
                const before = shown[index - 1]
                return (
                  <CompareRow
                    key={`${line.section} ${line.key}`}
                    line={line}
                    base={base}
                    rowIndex={index + 2}
                    isFirst={before?.section !== line.section}
                  />
                )
              })}
              <Spacer
                height={virtual.getTotalSize() - (items.at(-1)?.end ?? 0)}
                columns={runs.length + 1}
              />
            </tbody>
          </table>
        </div>
      )}
    </div>
  )
}

function Spacer({ height, columns }: { height: number; columns: number }) {
  if (height <= 0) return null
  return (
    <tr aria-hidden="true">
      <td colSpan={columns} style={{ height, padding: 0, border: 0 }} />
    </tr>
  )
}

function RunHead({
  run,
  prefix,
  isBaseline,
  isFirst,
  isLast,
  onBaseline,
  onMove,
  onDrop,
}: {
  run: ComparedRun
  /** What all names begin with, which is folded. */
  prefix: string
  isBaseline: boolean
  isFirst: boolean
  isLast: boolean
  onBaseline: () => void
  onMove: (by: number) => void
  onDrop: () => void
}) {
  const theme = useTheme()
  const name = visible(run.name || run.id.slice(0, 8), 250)
  return (
    <th scope="col" className={isBaseline ? "w-beside-base" : undefined}>
      <span className="w-beside-name">
        <RunDot colour={runColour(run, theme)} dash={runDash(run)} isShown />
        <PlaceLink to={{ page: "run", runId: run.id, tab: "overview" }} className="w-cut" aria-label={name}>
          <Name text={name} prefix={prefix} />
        </PlaceLink>
        <StateGlyph status={run.status} cause={run.cause} />
      </span>
      <span className="w-beside-head">
        <IconButton
          icon="star"
          label={isBaseline ? `${name} is the baseline; take it off` : `Use ${name} as baseline`}
          isSmall
          aria-pressed={isBaseline}
          onClick={onBaseline}
        />
        <IconButton icon="chevronLeft" label={`Move ${name} to the left`} isSmall disabled={isFirst} onClick={() => onMove(-1)} />
        <IconButton icon="chevronRight" label={`Move ${name} to the right`} isSmall disabled={isLast} onClick={() => onMove(1)} />
        <IconButton icon="close" label={`Leave ${name} out`} isSmall onClick={onDrop} />
      </span>
    </th>
  )
}
