/** The names under a card: folded, in up to two rows, and none where nobody could read them. */

import { useMemo } from "react"

import { shownName, sharedPrefix } from "../text/names"
import { NAME_LENGTH, visible } from "../text/visible"
import type { ChartLine } from "./line"

const MAX_LINES = 8
const MAX_ROWS = 2
/** A dot, some ten characters and the gap to the next, in CSS pixels. */
const ENTRY_WIDTH = 92
const ROW_HEIGHT = 18

/** How many rows so many names take at a width in CSS pixels; 0 where they are left out. */
export function legendRows(nLines: number, width: number): number {
  if (nLines === 0 || nLines > MAX_LINES) return 0
  const rows = Math.ceil(nLines / Math.max(1, Math.floor(width / ENTRY_WIDTH)))
  return rows <= MAX_ROWS ? rows : 0
}

export function legendHeight(rows: number): number {
  return rows * ROW_HEIGHT
}

export function Legend({
  lines,
  hasKeys,
  rows,
}: {
  lines: readonly ChartLine[]
  /** The card is of several keys, which are then named too. */
  hasKeys: boolean
  rows: number
}) {
  const names = useMemo(() => {
    const texts = lines.map((line) => (hasKeys ? `${line.name} ${line.key}` : line.name))
    const prefix = sharedPrefix(texts)
    return texts.map((text, at) => shownName(text, lines[at]?.id ?? "", prefix))
  }, [lines, hasKeys])
  const gridTemplateColumns = `repeat(${Math.ceil(lines.length / rows)}, minmax(0, auto))`
  return (
    <div className="w-card-legend" style={{ gridTemplateColumns, height: legendHeight(rows) }}>
      {lines.map((line, at) => (
        <span key={line.id} title={visible(line.name, NAME_LENGTH)}>
          <span className="w-chart-dot" style={{ background: line.colour }} />
          <span className="w-cut">{names[at]?.head}</span>
          {names[at]?.tail}
        </span>
      ))}
    </div>
  )
}
