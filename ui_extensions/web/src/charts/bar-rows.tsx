/** Rows with a bar each: what it is called, how long it is, what it says. */

import type { ReactNode } from "react"

import { count } from "../text/format"
import { Name } from "../text/name"
import type { DrawnBar } from "./figure-files"
import { hoverState } from "./hover"

const MAX_BARS = 200

export interface BarRow extends DrawnBar {
  readonly id: string
  /** The value in full. */
  readonly exact: string
  /** Behind the label, in grey. */
  readonly about?: string
  /** A run, or null where the row is of several. */
  readonly runId: string | null
  /** Cells behind the value. */
  readonly more?: readonly string[]
}

/** @param head Of the columns: bar and value have one between them. */
export function BarRows({ label, head, rows }: { label: string; head?: readonly string[]; rows: readonly BarRow[] }) {
  return (
    <div className="w-panel-scroll" tabIndex={0} role="group" aria-label={label}>
      <table className="w-chart-table w-scalar">
        {head && (
          <thead>
            <tr>
              {head.map((one, at) => (
                <th key={one} scope="col" colSpan={at === 1 ? 2 : 1}>
                  {one}
                </th>
              ))}
            </tr>
          </thead>
        )}
        <tbody>
          {rows.slice(0, MAX_BARS).map((row) => (
            <tr
              key={row.id}
              data-run={row.runId ?? undefined}
              onPointerEnter={() => row.runId !== null && hoverState.raise(row.runId)}
              onPointerLeave={() => row.runId !== null && hoverState.raise(null)}
            >
              <th scope="row">
                <span className="w-scalar-name">
                  <Name text={row.label} />
                  {row.about && <span className="w-secondary">{row.about}</span>}
                </span>
              </th>
              <td className="w-scalar-track">
                <Track row={row} />
              </td>
              <td title={row.exact}>{row.text}</td>
              {row.more?.map((one, at) => <td key={at}>{one}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > MAX_BARS && <Rest n={rows.length} />}
    </div>
  )
}

function Rest({ n }: { n: number }): ReactNode {
  return (
    <p className="w-secondary">
      The first {count(MAX_BARS)} of {count(n)}.
    </p>
  )
}

function Track({ row }: { row: BarRow }) {
  const { from, to, colour, whisker } = row
  return (
    <span className="w-scalar-bars">
      <span className="w-scalar-bar" style={{ background: colour, left: `${100 * from}%`, width: `${100 * (to - from)}%` }} />
      {whisker && (
        <span className="w-scalar-whisker" style={{ left: `${100 * whisker[0]}%`, width: `${100 * (whisker[1] - whisker[0])}%` }} />
      )}
    </span>
  )
}
