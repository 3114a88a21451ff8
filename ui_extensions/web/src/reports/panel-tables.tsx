/** Runs of a panel as a table, and side by side. */

import { useState } from "react"

import { Button } from "../controls/button"
import { Checkbox } from "../controls/input"
import { Beside, RunName } from "../runs/beside"
import { cellText, cellTitle, columnTitle, isNumberColumn } from "../runs/columns"
import { count } from "../text/format"
import type { Panel } from "./document"
import { FROZEN_WORDS } from "./frozen-words"
import type { PanelRuns } from "./panel-runs"

const FIRST_ROWS = 30
/** As many as `POST runs/compare` takes side by side. */
const MOST_BESIDE = 50
const NO_PARTS: readonly string[] = []

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
  const [isBrief, setBrief] = useState(panel.differences !== false)
  return (
    <>
      <div className="w-panel-tools">
        <Checkbox label="Differences only" isChecked={isBrief} onChange={setBrief} />
        {panel.runs.at !== null && (
          <span className="w-secondary">{FROZEN_WORDS}</span>
        )}
      </div>
      <Beside
        experimentIds={panel.runs.experiments}
        runs={found.runs.slice(0, MOST_BESIDE)}
        parts={panel.parts ?? NO_PARTS}
        isBrief={isBrief}
        at={panel.runs.at}
      />
    </>
  )
}
