/** One line of a comparison: a key, and what each run has of it. */

import { Name } from "../text/name"
import { cellNumber, deltaText } from "./columns"
import type { ComparedLine } from "./comparison"
import { SECTIONS } from "./comparison"
import { isHigherBetter } from "./direction"

export function CompareRow({
  line,
  base,
  rowIndex,
  isFirst,
}: {
  line: ComparedLine
  base: number
  rowIndex: number
  isFirst: boolean
}) {
  const baseCell = base >= 0 ? line.cells[base] : undefined
  const section = SECTIONS.find((one) => one.value === line.section)?.label ?? ""
  return (
    <tr aria-rowindex={rowIndex} className={isFirst ? "w-beside-first" : undefined}>
      <th scope="row" className="w-beside-key">
        <span className="w-beside-key-box">
          <Name text={line.key} />
          {isFirst && <span className="w-beside-section">{section}</span>}
        </span>
      </th>
      {line.cells.map((cell, at) => {
        const delta =
          line.metric && baseCell && at !== base
            ? deltaText(cellNumber(cell.value), cellNumber(baseCell.value))
            : ""
        const isUp = delta.startsWith("+")
        const isPlain = delta === "0 %" || delta === "—"
        const isGood = isUp === isHigherBetter(line.metric, [])
        const isOther = line.differs && baseCell !== undefined && cell.text !== baseCell.text
        return (
          <td
            key={at}
            title={line.metric && cell.value !== null ? String(cell.value) : cell.text}
            className={`${line.metric ? "w-number" : ""}${isOther ? " w-beside-other" : ""}`}
          >
            <span className="w-beside-value">{cell.text || <span className="w-hint">–</span>}</span>
            {delta && (
              <span className={`w-run-delta${isPlain ? "" : isGood ? " w-run-good" : " w-run-worse"}`}>
                {" "}
                {isPlain ? delta : `${isUp ? "▲" : "▼"} ${delta.slice(1)}`}
              </span>
            )}
          </td>
        )
      })}
    </tr>
  )
}
