/** What stands beside the cursor: x, and the nearest lines with their values. */

import { dateTime, duration, number } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Nearby } from "./line-chart"
import type { XAxis } from "./types"

const MAX_ROWS = 8

export interface TipState {
  nearby: readonly Nearby[]
  x: number
  left: number
  top: number
}

export function xText(axis: XAxis, x: number): string {
  if (axis === "step") return `step ${Math.round(x).toLocaleString("en-US")}`
  if (axis === "wall") return dateTime(x)
  if (axis === "rel" || axis === "relp") return duration(x)
  return `${visible(axis.slice(2), 60)} ${number(x, 4)}`
}

export function valueText({ line, bucket }: Nearby): string {
  const { curve } = line
  const value = (curve.last[bucket] as number) + curve.offset
  const own = number(value, 4)
  const smoothed = line.smoothed?.[bucket]
  return smoothed === undefined ? own : `${own} (${number(smoothed, 4)})`
}

export function Tip({ tip, axis, width }: { tip: TipState; axis: XAxis; width: number }) {
  const shown = tip.nearby.slice(0, MAX_ROWS)
  const more = tip.nearby.length - shown.length
  const first = shown[0]
  const x = first ? (first.line.curve.x[first.bucket] as number) : tip.x
  const isRight = tip.left > width / 2
  return (
    <div
      className="w-chart-tip"
      aria-hidden="true"
      style={isRight ? { right: width - tip.left + 12, top: 0 } : { left: tip.left + 12, top: 0 }}
    >
      <div className="w-chart-tip-x">{xText(axis, x)}</div>
      {shown.map((nearby, at) => {
        const { line, bucket } = nearby
        const { curve } = line
        const n = curve.count?.[bucket] ?? 1
        const isRange = n > 1 && at === 0
        return (
          <div key={line.id} className={at === 0 ? "w-chart-tip-row w-chart-tip-first" : "w-chart-tip-row"}>
            <span className="w-chart-dot" style={{ background: line.colour }} />
            <span className="w-chart-tip-name">{visible(line.name, NAME_LENGTH)}</span>
            <span className="w-chart-tip-value">{valueText(nearby)}</span>
            {isRange && (
              <span className="w-chart-tip-range">
                {number((curve.low[bucket] as number) + curve.offset, 4)} …{" "}
                {number((curve.high[bucket] as number) + curve.offset, 4)} in {n.toLocaleString("en-US")} points
              </span>
            )}
          </div>
        )
      })}
      {more > 0 && <div className="w-chart-tip-more">+{more.toLocaleString("en-US")} more</div>}
    </div>
  )
}
