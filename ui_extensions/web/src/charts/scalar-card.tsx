/** One number of a metric for each visible run, as bars in order; large where it is one run alone. */

import type { ReactNode } from "react"
import { useMemo, useRef, useState } from "react"

import { call } from "../api/client"
import { useAsked } from "../api/use-answer"
import { useAsOf } from "../data/as-of"
import { IconButton } from "../controls/button"
import type { MenuItem } from "../controls/menu"
import { Menu } from "../controls/menu"
import { Empty, Failed, Loading } from "../controls/state"
import { count, number } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import { hoverState } from "./hover"
import type { Aggregate, DrawnRun, RunGroup } from "./types"

const MAX_BARS = 200
const MAX_ROWS = 2_000

export interface Scalar {
  id: string
  name: string
  colour: string
  /** NaN and infinities too. */
  value: number
  /** Of a group: how many runs it is the mean of. */
  n: number
}

type Cell = string | number | null

function asNumber(cell: Cell | undefined): number | null {
  if (cell === null || cell === undefined || cell === "") return null
  return Number(cell)
}

/** A value a run, or the mean of each group, the largest first; what is no number is last. */
export function scalarsOf(
  values: ReadonlyMap<string, number>,
  runs: readonly DrawnRun[],
  groups: readonly RunGroup[] | null,
): Scalar[] {
  const found: Scalar[] = []
  if (groups === null) {
    for (const { id, name, colour, isVisible } of runs) {
      const value = values.get(id)
      if (isVisible && value !== undefined) found.push({ id, name, colour, value, n: 1 })
    }
  } else {
    for (const { key, label, colour, runIds } of groups) {
      const own = runIds.flatMap((id) => values.get(id) ?? []).filter(Number.isFinite)
      if (own.length === 0) continue
      const value = own.reduce((sum, one) => sum + one, 0) / own.length
      found.push({ id: `group:${key}`, name: label, colour, value, n: own.length })
    }
  }
  const place = (value: number): number => (Number.isNaN(value) ? -Infinity : value)
  return found.sort((a, b) => place(b.value) - place(a.value) || Number(Number.isNaN(a.value)) - Number(Number.isNaN(b.value)))
}

/** The share of a bar from its zero, and where that is: bars of both signs share one axis. */
export function barsOf(values: readonly number[]): { zero: number; share: (value: number) => number } {
  const finite = values.filter(Number.isFinite)
  const low = Math.min(0, ...finite)
  const high = Math.max(0, ...finite)
  const size = high - low || 1
  return { zero: -low / size, share: (value) => (Number.isFinite(value) ? Math.abs(value) / size : 0) }
}

export function ScalarCard({
  experimentIds,
  metric,
  aggregate,
  title,
  runs,
  groups,
  newsAt,
  width,
  height,
  items,
  grip,
  onExpand,
}: {
  experimentIds: readonly string[]
  metric: string
  aggregate: Aggregate
  title: string
  runs: readonly DrawnRun[]
  groups: readonly RunGroup[] | null
  /** It is asked for again when this changes. */
  newsAt: number
  width: number
  height: number
  items: readonly MenuItem[]
  grip?: ReactNode
  onExpand?: () => void
}) {
  const [isUp, setUp] = useState(false)
  // All runs, so that an eye asks for nothing.
  const ids = useMemo(() => runs.map((run) => run.id).slice(0, MAX_ROWS), [runs])
  const column = `metrics.${metric}:${aggregate}`
  const at = useAsOf()
  const question = ids.length === 0 ? null : JSON.stringify([experimentIds, ids, column, newsAt, at])
  const answer = useAsked<{ rows: { id: string; cells: Cell[] }[] }>(question, (options) =>
    call("runs", { experiments: experimentIds, run_ids: ids, columns: [column], at }, options),
  )
  // What was there stays while it is asked again.
  const last = useRef(answer.data)
  if (answer.data) last.current = answer.data
  const rows = last.current?.rows
  const scalars = useMemo(() => {
    const values = new Map<string, number>()
    for (const row of rows ?? []) {
      const value = asNumber(row.cells[0])
      if (value !== null) values.set(row.id, value)
    }
    const found = scalarsOf(values, runs, groups)
    return isUp ? found.reverse() : found
  }, [rows, runs, groups, isUp])
  const { zero, share } = barsOf(scalars.map((one) => one.value))
  const shownTitle = visible(title, NAME_LENGTH)
  const [only] = scalars
  return (
    <article className="w-card" aria-label={shownTitle} style={{ width, height }} data-scalar={metric}>
      <header className="w-card-head">
        {grip}
        <h3 title={metric}>{shownTitle}</h3>
        <IconButton
          icon="sort"
          label={isUp ? "Largest first" : "Smallest first"}
          isSmall
          onClick={() => setUp(!isUp)}
        />
        {onExpand && <IconButton icon="expand" label={`Full screen: ${shownTitle}`} isSmall onClick={onExpand} />}
        <Menu
          label={`Menu of ${shownTitle}`}
          button={{ icon: "more", isSmall: true, kind: "quiet", "aria-label": `Menu of ${shownTitle}` }}
          items={items}
        />
      </header>
      {answer.error && <Failed what="The values could not be read" error={answer.error} onRetry={answer.retry} />}
      {!rows && !answer.error && question !== null && <Loading label="Loading the values" rows={3} />}
      {(rows || question === null) && scalars.length === 0 && <Empty>No run that is shown has {visible(metric, 80)}.</Empty>}
      {scalars.length === 1 && only && (
        <div className="w-scalar-one">
          <strong title={String(only.value)}>{number(only.value, 5)}</strong>
          <span className="w-cut">
            <span className="w-chart-dot" style={{ background: only.colour }} />
            {visible(only.name, NAME_LENGTH)}
          </span>
        </div>
      )}
      {scalars.length > 1 && (
        <div className="w-compare-scroll" tabIndex={0} role="group" aria-label={`Values: ${shownTitle}`}>
          <table className="w-chart-table w-scalar">
            <tbody>
              {scalars.slice(0, MAX_BARS).map((one) => (
                <tr
                  key={one.id}
                  onPointerEnter={() => hoverState.raise(one.id)}
                  onPointerLeave={() => hoverState.raise(null)}
                >
                  <th scope="row" title={visible(one.name, NAME_LENGTH)}>
                    {visible(one.name, NAME_LENGTH)}
                    {one.n > 1 && <span className="w-secondary"> mean of {count(one.n)}</span>}
                  </th>
                  <td className="w-scalar-track">
                    <span className="w-scalar-bars">
                      <span
                        className="w-scalar-bar"
                        style={{
                          background: one.colour,
                          left: `${100 * (one.value < 0 ? zero - share(one.value) : zero)}%`,
                          width: `${100 * share(one.value)}%`,
                        }}
                      />
                    </span>
                  </td>
                  <td title={String(one.value)}>{number(one.value, 5)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {scalars.length > MAX_BARS && (
            <p className="w-secondary">The first {count(MAX_BARS)} of {count(scalars.length)}.</p>
          )}
        </div>
      )}
    </article>
  )
}
