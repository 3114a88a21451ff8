/** Where the axes of a card begin and end, by number. */

import { useState } from "react"

import { Button } from "../controls/button"
import { Dialog } from "../controls/dialog"
import type { ChartSettings } from "./types"

interface AxisProps {
  settings: ChartSettings
  onSettings: (patch: Partial<ChartSettings>) => void
}

/** Text as an end of an axis: a number, or null where the box is empty; undefined where it is neither. */
export function endOf(text: string): number | null | undefined {
  const plain = text.trim().replace("−", "-").replaceAll("_", "")
  if (plain === "") return null
  const value = Number(plain)
  return Number.isFinite(value) ? value : undefined
}

export function AxisFields({ settings, onSettings }: AxisProps) {
  const { zoom, yMin, yMax } = settings
  const [x, setX] = useState<{ from: string; to: string } | null>(null)
  const xText = x ?? { from: text(zoom?.[0]), to: text(zoom?.[1]) }
  const [from, to] = [endOf(xText.from), endOf(xText.to)]
  const changeX = (next: { from: string; to: string }): void => {
    setX(next)
    const [a, b] = [endOf(next.from), endOf(next.to)]
    if (a === null && b === null) onSettings({ zoom: null, zoomY: null })
    if (typeof a === "number" && typeof b === "number" && a < b) onSettings({ zoom: [a, b] })
  }
  const isXWrong =
    from === undefined || to === undefined || (from === null) !== (to === null) || (from !== null && to !== null && from >= to)
  // What is typed of one end stays until there is the other one.
  const doneX = (): void => {
    if (!isXWrong) setX(null)
  }
  const isTime = settings.x === "wall" || settings.x === "rel" || settings.x === "relp"
  const unit = isTime ? " (ms)" : ""
  return (
    <div className="w-chart-bar" role="group" aria-label="Axis ranges">
      <End label={`x from${unit}`} value={xText.from} isWrong={x !== null && isXWrong} onText={(value) => changeX({ ...xText, from: value })} onDone={doneX} />
      <End label={`x to${unit}`} value={xText.to} isWrong={x !== null && isXWrong} onText={(value) => changeX({ ...xText, to: value })} onDone={doneX} />
      <Limit label="y from" value={yMin} onValue={(value) => onSettings({ yMin: value })} isWrong={yMin !== null && yMax !== null && yMin >= yMax} />
      <Limit label="y to" value={yMax} onValue={(value) => onSettings({ yMax: value })} isWrong={yMin !== null && yMax !== null && yMin >= yMax} />
    </div>
  )
}

function text(value: number | null | undefined): string {
  return value === null || value === undefined ? "" : String(Number(value.toPrecision(9)))
}

/** One end of y, which stands alone. */
function Limit({
  label,
  value,
  onValue,
  isWrong,
}: {
  label: string
  value: number | null
  onValue: (value: number | null) => void
  isWrong: boolean
}) {
  const [typed, type] = useState<string | null>(null)
  const shown = typed ?? text(value)
  return (
    <End
      label={label}
      value={shown}
      isWrong={isWrong || endOf(shown) === undefined}
      onText={(next) => {
        type(next)
        const end = endOf(next)
        if (end !== undefined) onValue(end)
      }}
      onDone={() => type(null)}
    />
  )
}

function End({
  label,
  value,
  isWrong,
  onText,
  onDone,
}: {
  label: string
  value: string
  isWrong: boolean
  onText: (text: string) => void
  onDone: () => void
}) {
  return (
    <label>
      {label}
      <input
        type="text"
        inputMode="decimal"
        className="w-input w-axis-end"
        placeholder="auto"
        value={value}
        aria-invalid={isWrong}
        onChange={(event) => onText(event.target.value)}
        onBlur={onDone}
      />
    </label>
  )
}

export function AxisDialog(props: AxisProps & { onClose: () => void }) {
  const { onClose, onSettings } = props
  return (
    <Dialog
      title="Axis ranges"
      onClose={onClose}
      footer={
        <>
          <Button onClick={() => onSettings({ zoom: null, zoomY: null, yMin: null, yMax: null })}>As the lines need</Button>
          <Button kind="primary" onClick={onClose}>
            Done
          </Button>
        </>
      }
    >
      <AxisFields {...props} />
      <p className="w-secondary">Empty is what the lines need. x is that of all charts with the same axis, y this chart's own.</p>
    </Dialog>
  )
}
