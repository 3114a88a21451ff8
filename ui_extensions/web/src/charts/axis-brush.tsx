/** Part of an axis, drawn over with the pointer: the runs beyond it step back. */

import type { PointerEvent } from "react"
import { useRef } from "react"

/** From and to, as shares of the axis from its lower end. */
export type Range = readonly [number, number]

const HALF_PX = 10
const LEAST_PX = 4

/** Say whether a run's place on an axis is in the part that was drawn over; all are where none was. */
export function isWithin(place: number | null | undefined, range: Range | undefined): boolean {
  if (range === undefined) return true
  return place !== null && place !== undefined && place >= range[0] && place <= range[1]
}

export function AxisBrush({
  x,
  top,
  height,
  range,
  onRange,
}: {
  /** Where the upright axis stands, in px of the drawing. */
  x: number
  top: number
  height: number
  range: Range | undefined
  /** Of a press without a way there is none any more. */
  onRange: (range: Range | undefined) => void
}) {
  const from = useRef<number | null>(null)
  const placeOf = (event: PointerEvent<SVGRectElement>): number => {
    const above = event.currentTarget.getBoundingClientRect().top
    return Math.min(1, Math.max(0, 1 - (event.clientY - above) / height))
  }
  return (
    <>
      {range && (
        <rect
          className="w-figure-range"
          x={x - 5}
          width={10}
          y={top + (1 - range[1]) * height}
          height={Math.max(1, (range[1] - range[0]) * height)}
        />
      )}
      <rect
        className="w-figure-brush"
        x={x - HALF_PX}
        width={2 * HALF_PX}
        y={top}
        height={height}
        onPointerDown={(event) => {
          if (event.button !== 0) return
          event.currentTarget.setPointerCapture(event.pointerId)
          from.current = placeOf(event)
        }}
        onPointerMove={(event) => {
          if (from.current === null) return
          const to = placeOf(event)
          if (Math.abs(to - from.current) * height < LEAST_PX) return
          onRange([Math.min(from.current, to), Math.max(from.current, to)])
        }}
        onPointerUp={(event) => {
          if (from.current !== null && Math.abs(placeOf(event) - from.current) * height < LEAST_PX) onRange(undefined)
          from.current = null
        }}
        onPointerCancel={() => {
          from.current = null
        }}
      />
    </>
  )
}
