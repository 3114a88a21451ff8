/** Runs of a panel as a table, and side by side. */

import "../runs/compare.css"

import { useMemo, useState } from "react"

import { useAsked } from "../api/use-answer"
import { Button } from "../controls/button"
import { Checkbox } from "../controls/input"
import { Failed, Loading } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { cellText, cellTitle, columnTitle, isNumberColumn } from "../runs/columns"
import { CompareRow } from "../runs/compare-row"
import { compare, readCompared } from "../runs/comparison"
import { RunDot, StateGlyph } from "../runs/row"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { DrawnRun } from "../charts/types"
import type { Panel } from "./document"
import { FROZEN_WORDS } from "./frozen-words"
import type { PanelRuns } from "./panel-runs"

const FIRST_ROWS = 30
const FIRST_LINES = 40
/** As many as `POST runs/compare` takes side by side. */
const MOST_BESIDE = 50

function RunName({ run, cause }: { run: DrawnRun; cause?: string | undefined }) {
  const name = visible(run.name || run.id.slice(0, 8), NAME_LENGTH)
  return (
    <span className="w-beside-name">
      <RunDot colour={run.colour} dash={run.dash} isShown />
      <PlaceLink to={{ page: "run", runId: run.id, tab: "overview" }} className="w-cut" title={name}>
        {name}
      </PlaceLink>
      <StateGlyph status={run.status} cause={cause} />
    </span>
  )
}

export function PanelTable({ panel, found }: { panel: Panel; found: PanelRuns }) {
  const { list, rows, runs } = found
  const [most, setMost] = useState(FIRST_ROWS)
  const columns = panel.columns ?? []
  const nowMs = Date.now() + list.clockMs
  return (
    <div className="w-report-table" tabIndex={0} role="region" aria-label="Runs">
      <table>
        <thead>
          <tr>
            <th scope="col">Run</th>
            {columns.map((name) => (
              <th key={name} scope="col" className={isNumberColumn(name) ? "w-number" : undefined}>
                {columnTitle(name)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {runs.slice(0, most).map((run, at) => (
            <tr key={run.id}>
              <th scope="row">
                <RunName run={run} cause={rows[at]?.cause} />
              </th>
              {columns.map((name) => {
                const cell = list.cell(run.id, name)
                return (
                  <td
                    key={name}
                    title={cellTitle(name, cell)}
                    className={isNumberColumn(name) ? "w-number" : undefined}
                  >
                    {cellText(name, cell, nowMs) || <span className="w-hint">–</span>}
                  </td>
                )
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {runs.length > most && (
        <Button isSmall kind="quiet" onClick={() => setMost(most + 200)}>
          {count(runs.length - most)} more
        </Button>
      )}
    </div>
  )
}

export function PanelComparison({ panel, found }: { panel: Panel; found: PanelRuns }) {
  const runs = found.runs.slice(0, MOST_BESIDE)
  const ids = runs.map((run) => run.id)
  const [isBrief, setBrief] = useState(panel.differences !== false)
  const [most, setMost] = useState(FIRST_LINES)
  const answer = useAsked(JSON.stringify([panel.runs.experiments, ids, panel.runs.at]), ({ signal }) =>
    readCompared(panel.runs.experiments, ids, panel.runs.at, signal ? { signal } : {}),
  )
  const lines = useMemo(() => {
    const known = new Map((answer.data ?? []).map((run) => [run.id, run]))
    const inOrder = ids.flatMap((id) => known.get(id) ?? [])
    const parts = panel.parts ?? []
    return compare(inOrder).filter((line) => parts.includes(line.section))
  }, [answer.data, ids.join(), panel.parts])
  if (answer.error) return <Failed what="The runs could not be read" error={answer.error} onRetry={answer.retry} />
  if (answer.data === null) return <Loading label="Loading the comparison" rows={5} />
  const shown = isBrief ? lines.filter((line) => line.differs) : lines
  return (
    <>
      <div className="w-panel-tools">
        <Checkbox label="Differences only" isChecked={isBrief} onChange={setBrief} />
        {panel.runs.at !== null && (
          <span className="w-secondary">{FROZEN_WORDS}</span>
        )}
      </div>
      {shown.length === 0 ? (
        <p className="w-panel-note">{runs.length > 1 ? "These runs are equal in this." : "There is nothing to show."}</p>
      ) : (
        <div className="w-report-table" tabIndex={0} role="region" aria-label="Comparison">
          <table className="w-beside-table">
            <thead>
              <tr>
                <th scope="col">Key</th>
                {runs.map((run) => (
                  <th key={run.id} scope="col">
                    <RunName run={run} />
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {shown.slice(0, most).map((line, at) => (
                <CompareRow
                  key={`${line.section} ${line.key}`}
                  line={line}
                  base={-1}
                  rowIndex={at + 2}
                  isFirst={shown[at - 1]?.section !== line.section}
                />
              ))}
            </tbody>
          </table>
          {shown.length > most && (
            <Button isSmall kind="quiet" onClick={() => setMost(most + 400)}>
              {count(shown.length - most)} more
            </Button>
          )}
        </div>
      )}
    </>
  )
}
