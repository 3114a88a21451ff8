/** A chart as a table: what each line ends with, and how far it goes. */

import { Dialog } from "../controls/dialog"
import { count, number } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { ChartLine } from "./line"
import { xText } from "./tip"
import type { XAxis } from "./types"

const MAX_ROWS = 1_000

export function extremes(line: ChartLine): { low: number; high: number; last: number; x: number } {
  const { low, high, last, x, offset } = line.curve
  let smallest = Infinity
  let largest = -Infinity
  for (let at = 0; at < low.length; at += 1) {
    smallest = Math.min(smallest, Number.isNaN(low[at]) ? Infinity : (low[at] as number) + offset)
    largest = Math.max(largest, Number.isNaN(high[at]) ? -Infinity : (high[at] as number) + offset)
  }
  const end = last.length - 1
  return {
    low: Number.isFinite(smallest) ? smallest : NaN,
    high: Number.isFinite(largest) ? largest : NaN,
    last: (last[end] as number) + offset,
    x: x[end] as number,
  }
}

export function LineTable({ lines, axis }: { lines: readonly ChartLine[]; axis: XAxis }) {
  return (
    <table className="w-chart-table">
      <thead>
        <tr>
          <th scope="col">Run</th>
          <th scope="col">Last</th>
          <th scope="col">At</th>
          <th scope="col">Smallest</th>
          <th scope="col">Largest</th>
          <th scope="col">Points</th>
        </tr>
      </thead>
      <tbody>
        {lines.slice(0, MAX_ROWS).map((line) => {
          const { low, high, last, x } = extremes(line)
          return (
            <tr key={line.id}>
              <th scope="row">
                <span className="w-chart-dot" style={{ background: line.colour }} />
                {visible(line.name, NAME_LENGTH)}
              </th>
              <td title={String(last)}>{number(last, 5)}</td>
              <td>{xText(axis, x)}</td>
              <td title={String(low)}>{number(low, 5)}</td>
              <td title={String(high)}>{number(high, 5)}</td>
              <td>{count(line.curve.total)}</td>
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}

export function ValueTable({
  title,
  lines,
  axis,
  onClose,
}: {
  title: string
  lines: readonly ChartLine[]
  axis: XAxis
  onClose: () => void
}) {
  return (
    <Dialog title={title} isWide onClose={onClose}>
      <LineTable lines={lines} axis={axis} />
      {lines.length > MAX_ROWS && <p>The first {count(MAX_ROWS)} of {count(lines.length)} lines.</p>}
    </Dialog>
  )
}
