/**
 * What stands beside the cursor: x, and the lines there with their values, the largest first as on
 * the chart, the nearest marked. A click pins it: then it stays, scrolls, and its text can be taken.
 */

import { useSyncExternalStore } from "react"

import { IconButton } from "../controls/button"
import { dateTime, duration, number } from "../text/format"
import { middleCut } from "../text/names"
import { NAME_LENGTH, visible } from "../text/visible"
import { hoverState } from "./hover"
import type { Nearby } from "./line-chart"
import type { XAxis } from "./types"

const MAX_ROWS = 8
const MAX_PINNED_ROWS = 200
const AXIS_WIDTH = 46
/** Letters of a name that have room beside its value. */
const MAX_NAME = 26

export interface TipState {
  /** The nearest first. */
  nearby: readonly Nearby[]
  x: number
  left: number
  top: number
  isPinned: boolean
}

/** The tip of one chart, which changes each frame: who shows it renders, and not the card. */
export class TipSource {
  #tip: TipState | null = null
  readonly #listeners = new Set<() => void>()

  readonly get = (): TipState | null => this.#tip

  set(tip: TipState | null): void {
    if (tip === null && this.#tip === null) return
    this.#tip = tip
    for (const listener of this.#listeners) listener()
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
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

function drawnValue({ line, bucket }: Nearby): number {
  return line.smoothed?.[bucket] ?? (line.curve.last[bucket] as number) + line.curve.offset
}

/**
 * Which lines are told of and in what order: the largest value first, so many of them around the
 * nearest.
 *
 * @param nearby The nearest first.
 */
export function tipRows(
  nearby: readonly Nearby[],
  most: number,
): { rows: readonly Nearby[]; above: number; below: number } {
  const nearest = nearby[0]
  if (nearest === undefined) return { rows: [], above: 0, below: 0 }
  const values = Float64Array.from(nearby, drawnValue)
  const order = Array.from(nearby.keys()).sort((a, b) => (values[b] as number) - (values[a] as number))
  const at = order.indexOf(0)
  const from = Math.max(0, Math.min(order.length - most, at - Math.floor(most / 2)))
  const rows = order.slice(from, from + most).map((place) => nearby[place] as Nearby)
  return { rows, above: from, below: order.length - from - rows.length }
}

/** One text, not parts of a name: what is pinned is copied. */
function TipName({ text }: { text: string }) {
  const name = visible(text, NAME_LENGTH)
  return (
    <span className="w-chart-tip-name" title={name}>
      {middleCut(name, MAX_NAME)}
    </span>
  )
}

export function Tip({
  source,
  axis,
  width,
  height,
  hasKeys,
}: {
  source: TipSource
  axis: XAxis
  width: number
  height: number
  /** The card is of several metrics, which are then named too. */
  hasKeys: boolean
}) {
  const tip = useSyncExternalStore(source.subscribe, source.get)
  const isPinned = tip?.isPinned ?? false
  const nearest = tip?.nearby[0]
  if (!tip || !nearest) return null
  const { rows, above, below } = tipRows(tip.nearby, isPinned ? MAX_PINNED_ROWS : MAX_ROWS)
  const x = nearest.line.curve.x[nearest.bucket] as number
  const left = tip.left + AXIS_WIDTH
  const place = left > width / 2 ? { right: width - left + 12 } : { left: left + 12 }
  const { curve } = nearest.line
  const n = curve.count?.[nearest.bucket] ?? 1
  const more = (count: number, where: string) =>
    count > 0 && (
      <div className="w-chart-tip-more">
        {count.toLocaleString("en-US")} more {where}
      </div>
    )
  return (
    <div
      className={`w-chart-tip${isPinned ? " w-chart-tip-pinned" : ""}`}
      aria-hidden={isPinned ? undefined : true}
      role={isPinned ? "region" : undefined}
      aria-label={isPinned ? `Pinned: ${xText(axis, x)}` : undefined}
      // A pinned one is read with the keyboard too.
      tabIndex={isPinned ? 0 : undefined}
      style={{ ...place, top: 0, maxHeight: isPinned ? height : undefined }}
      onPointerDown={(event) => event.stopPropagation()}
    >
      <div className="w-chart-tip-x">
        {xText(axis, x)}
        {isPinned && (
          <IconButton icon="close" label="Unpin (Esc)" isSmall onClick={() => hoverState.setPin(null)} />
        )}
      </div>
      {more(above, "above")}
      {rows.map((nearby) => {
        const { line } = nearby
        const isNearest = nearby === nearest
        return (
          <div key={line.id} className={isNearest ? "w-chart-tip-row w-chart-tip-first" : "w-chart-tip-row"}>
            <span className="w-chart-dot" style={{ background: line.colour }} />
            <TipName text={hasKeys ? `${line.key} ${line.name}` : line.name} />
            <span className="w-chart-tip-value">{valueText(nearby)}</span>
            {isNearest && n > 1 && (
              <span className="w-chart-tip-range">
                {number((curve.low[nearby.bucket] as number) + curve.offset, 4)} …{" "}
                {number((curve.high[nearby.bucket] as number) + curve.offset, 4)} in {n.toLocaleString("en-US")} points
              </span>
            )}
          </div>
        )
      })}
      {more(below, "below")}
    </div>
  )
}

/** Says the value under the cursor where the keyboard moves it. */
export function SpokenTip({ source, axis, isSpoken }: { source: TipSource; axis: XAxis; isSpoken: () => boolean }) {
  const tip = useSyncExternalStore(source.subscribe, source.get)
  const nearest = tip?.nearby[0]
  const text =
    nearest && isSpoken()
      ? `${visible(nearest.line.name, 80)}, ${xText(axis, nearest.line.curve.x[nearest.bucket] as number)}: ${valueText(nearest)}`
      : ""
  return (
    <div className="w-hidden-text" aria-live="polite">
      {text}
    </div>
  )
}
