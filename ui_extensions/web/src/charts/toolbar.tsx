/** The settings of all cards that are a click away: x, smoothing, log. */

import { Checkbox } from "../controls/input"
import { KeyButton } from "./key-button"
import { OFFERS } from "../offers"
import { visible } from "../text/visible"
import { axisName } from "./ticks"
import type { ChartSettings, XAxis } from "./types"

/** So many metrics stand in the list of x axes; of more one is searched for. */
const MAX_LISTED = 50

const KINDS = {
  none: "No smoothing",
  twema: "Time-weighted",
  ema: "Exponential",
  gauss: "Gaussian (centred)",
  mean: "Running mean",
} as const

const AXES: readonly XAxis[] = ["step", "rel", "wall", ...(OFFERS.moreAxes ? (["relp"] as const) : [])]

/** The ids of what a key leads to, the first that is there. */
export const SMOOTHING_IDS = ["w-chart-amount", "w-chart-smoothing"] as const

/** The x axis after this one; after another metric comes the first. */
export function nextAxis(x: XAxis): XAxis {
  return AXES[(AXES.indexOf(x) + 1) % AXES.length] ?? "step"
}

const RANGES: Record<string, { min: number; max: number; step: number; first: number }> = {
  twema: { min: 0, max: 0.999, step: 0.001, first: 0.6 },
  ema: { min: 0, max: 0.999, step: 0.001, first: 0.6 },
  gauss: { min: 1, max: 200, step: 1, first: 20 },
  mean: { min: 1, max: 500, step: 2, first: 25 },
}

export function ChartToolbar({
  settings,
  onSettings,
  keys = [],
}: {
  settings: ChartSettings
  onSettings: (patch: Partial<ChartSettings>) => void
  /** Metrics that x may be. */
  keys?: readonly string[]
}) {
  const { smoothing, x } = settings
  const range = RANGES[smoothing.kind]
  const isLong = keys.length > MAX_LISTED
  const others = (OFFERS.moreAxes && !isLong ? keys : []).map((key): XAxis => `m:${key}`)
  if (x.startsWith("m:") && !others.includes(x)) others.push(x)
  return (
    <div className="w-chart-bar" role="group" aria-label="Settings of all charts">
      <label>
        X
        <select
          className="w-input"
          value={x}
          onChange={(event) => onSettings({ x: event.target.value as XAxis, zoom: null })}
        >
          {AXES.map((axis) => (
            <option key={axis} value={axis}>{axisName(axis)}</option>
          ))}
          {others.length > 0 && (
            <optgroup label="Another metric">
              {others.map((axis) => (
                <option key={axis} value={axis}>{visible(axisName(axis), 60)}</option>
              ))}
            </optgroup>
          )}
        </select>
      </label>
      {OFFERS.moreAxes && isLong && (
        <KeyButton keys={keys} onKey={(key) => onSettings({ x: `m:${key}`, zoom: null })} />
      )}
      <label>
        <span className="w-hidden-text">Smoothing</span>
        <select
          id="w-chart-smoothing"
          className="w-input"
          value={smoothing.kind}
          onChange={(event) => {
            const kind = event.target.value as ChartSettings["smoothing"]["kind"]
            onSettings({ smoothing: { ...smoothing, kind, amount: RANGES[kind]?.first ?? smoothing.amount } })
          }}
        >
          {Object.entries(KINDS).map(([kind, name]) => (
            <option key={kind} value={kind}>{name}</option>
          ))}
        </select>
      </label>
      {range && (
        <>
          <label>
            <span className="w-hidden-text">Amount of smoothing</span>
            <input
              id="w-chart-amount"
              type="range"
              min={range.min}
              max={range.max}
              step={range.step}
              value={smoothing.amount}
              onChange={(event) =>
                onSettings({ smoothing: { ...smoothing, amount: Number(event.target.value) } })
              }
            />
            <output>{smoothing.amount}</output>
          </label>
          <Checkbox
            label="Original"
            isChecked={smoothing.original}
            onChange={(original) => onSettings({ smoothing: { ...smoothing, original } })}
          />
        </>
      )}
      <Checkbox
        label="Log x"
        isChecked={settings.xLog}
        onChange={(xLog) => onSettings({ xLog, zoom: null })}
      />
      <Checkbox
        label="Log y"
        isChecked={settings.yScale === "log"}
        onChange={(isLog) => onSettings({ yScale: isLog ? "log" : "linear" })}
      />
    </div>
  )
}
