import type { PointerEvent } from "react"
import { useEffect, useRef, useState } from "react"

import { count, number } from "../text/format"
import { visible } from "../text/visible"
import { useTheme } from "../theme"
import { logShare, positiveRange } from "./histograms"

const LABEL_PX = 220
const AXIS_PX = 20
// From little to much; read on both themes, and in grey.
const SCALES = {
  light: ["#f2f6fb", "#b9d7ee", "#6caad8", "#2272b4", "#0e538b", "#04355d"],
  dark: ["#1b2730", "#1f4160", "#22628f", "#3a8fd0", "#8acaff", "#e0f2ff"],
}

/** Numbers as colours, by magnitude: rows by name, columns by step. Bad ones are marked, not coloured. */
export function HeatMap({
  label,
  rows,
  columns,
  value,
  isBad,
  chosen = null,
  onChoose,
  rowHeight = 24,
  unit = "",
}: {
  label: string
  rows: readonly string[]
  columns: readonly number[]
  value: (row: number, column: number) => number
  isBad: (row: number, column: number) => boolean
  chosen?: string | null
  onChoose?: (row: string) => void
  rowHeight?: number
  unit?: string
}) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const frame = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  const [at, setAt] = useState<{ row: number; column: number } | null>(null)
  const theme = useTheme()
  const height = rows.length * rowHeight
  const all: number[] = []
  let hasBad = false
  for (let row = 0; row < rows.length; row += 1) {
    for (let column = 0; column < columns.length; column += 1) {
      all.push(value(row, column))
      hasBad ||= isBad(row, column)
    }
  }
  const range = positiveRange(all)
  useEffect(() => {
    const into = frame.current
    if (!into) return
    const sizes = new ResizeObserver(() => setWidth(into.clientWidth))
    sizes.observe(into)
    setWidth(into.clientWidth)
    return () => sizes.disconnect()
  }, [])
  useEffect(() => {
    const drawn = canvas.current
    const into = drawn?.getContext("2d")
    if (!drawn || !into || width <= 0) return
    const dpr = Math.min(2, window.devicePixelRatio || 1)
    drawn.width = Math.round(width * dpr)
    drawn.height = Math.round(height * dpr)
    into.setTransform(dpr, 0, 0, dpr, 0, 0)
    const style = getComputedStyle(document.documentElement)
    into.fillStyle = style.getPropertyValue("--w-bg-2")
    into.fillRect(0, 0, width, height)
    const bad = style.getPropertyValue("--w-bad")
    const cell = width / Math.max(1, columns.length)
    for (let row = 0; row < rows.length; row += 1) {
      for (let column = 0; column < columns.length; column += 1) {
        const share = range
          ? logShare(all[row * columns.length + column] ?? Number.NaN, ...range)
          : null
        const x = Math.floor(column * cell)
        const w = Math.max(1, Math.ceil((column + 1) * cell) - x)
        if (isBad(row, column)) into.fillStyle = bad
        else if (share === null) continue
        else into.fillStyle = mixed(SCALES[theme], share)
        into.fillRect(x, row * rowHeight, w, rowHeight > 8 ? rowHeight - 1 : rowHeight)
      }
    }
  })
  const pointAt = (event: PointerEvent<HTMLCanvasElement>): void => {
    const box = event.currentTarget.getBoundingClientRect()
    const row = Math.floor((event.clientY - box.top) / rowHeight)
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns.length)
    if (row >= 0 && row < rows.length && column >= 0 && column < columns.length) {
      setAt({ row, column })
    }
  }
  const hasNames = onChoose !== undefined
  const shown = at && { name: rows[at.row] ?? "", step: columns[at.column] ?? 0, value: value(at.row, at.column) }
  return (
    <div className="w-heat">
      <div className="w-heat-body">
        {hasNames && (
          <div className="w-heat-names" style={{ width: LABEL_PX }}>
            {rows.map((name) => (
              <button
                key={name}
                type="button"
                className="w-heat-name"
                style={{ height: rowHeight }}
                aria-pressed={name === chosen}
                title={visible(name, 250)}
                onClick={() => onChoose(name)}
              >
                <span className="w-cut">{visible(name, 250)}</span>
              </button>
            ))}
          </div>
        )}
        <div ref={frame} className="w-heat-frame">
          <canvas
            ref={canvas}
            role="img"
            aria-label={label}
            style={{ width: "100%", height }}
            onPointerDown={pointAt}
            onPointerMove={pointAt}
            // A finger that is lifted leaves what it pointed at.
            onPointerLeave={(event) => event.pointerType !== "touch" && setAt(null)}
            onClick={() => {
              const name = at && rows[at.row]
              if (name !== null && name !== undefined) onChoose?.(name)
            }}
          />
          <div className="w-heat-axis" style={{ height: AXIS_PX }} aria-hidden="true">
            <span>{columns.length > 0 && `step ${count(columns[0] ?? 0)}`}</span>
            <span>{columns.length > 1 && count(columns.at(-1) ?? 0)}</span>
          </div>
        </div>
      </div>
      <div className="w-heat-scale">
        {range && (
          <>
            <span>{number(range[0], 3)}</span>
            <span
              className="w-heat-colours"
              style={{ backgroundImage: `linear-gradient(to right, ${SCALES[theme].join(", ")})` }}
              role="img"
              aria-label={`Colours by magnitude, from ${number(range[0], 3)} to ${number(range[1], 3)} ${unit}`}
            />
            <span>
              {number(range[1], 3)} {unit}
            </span>
            <span className="w-secondary">by magnitude; 0 and nothing are blank</span>
          </>
        )}
        {hasBad && (
          <span>
            <span className="w-heat-bad" aria-hidden="true" /> NaN or infinite
          </span>
        )}
      </div>
      <p className="w-heat-at w-secondary">
        {shown
          ? `${visible(shown.name, 120)} · step ${count(shown.step)} · ${number(shown.value, 4)} ${unit}`
          : "Point at a cell for its value."}
      </p>
    </div>
  )
}

function mixed(scale: readonly string[], share: number): string {
  const at = share * (scale.length - 1)
  const low = Math.min(scale.length - 2, Math.floor(at))
  const part = at - low
  const [a, b] = [channels(scale[low] ?? ""), channels(scale[low + 1] ?? "")]
  const [r, g, blue] = a.map((channel, index) =>
    Math.round(channel + ((b[index] ?? 0) - channel) * part),
  )
  return `rgb(${r}, ${g}, ${blue})`
}

function channels(hex: string): number[] {
  return [1, 3, 5].map((from) => Number.parseInt(hex.slice(from, from + 2), 16))
}
