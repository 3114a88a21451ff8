/** What stands beside the axes. */

import { duration } from "../text/format"
import type { XAxis } from "./types"

/** 12000 as 12k, 1.2e6 as 1.2M, small ones in full. */
export function tick(value: number): string {
  const size = Math.abs(value)
  if (value === 0) return "0"
  if (size >= 1e15 || size < 1e-4) {
    return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e").replace("e-", "e−").replace("-", "−")
  }
  const sign = value < 0 ? "−" : ""
  for (const [unit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (size >= unit) return `${sign}${Number((size / unit).toPrecision(4))}${letter}`
  }
  return `${sign}${Number(size.toPrecision(4))}`
}

/** Of a whole axis: where several would look alike, how far they are from the first. */
export function ticks(values: readonly (number | null)[]): string[] {
  const texts = values.map((value) => (value === null ? "" : tick(value)))
  const [base] = values
  const isClear = new Set(texts).size === texts.length
  if (isClear || base === null || base === undefined || values.includes(null)) return texts
  const distance = (value: number): string => tick(Number((value - base).toPrecision(3)))
  return values.map((value, at) => (at === 0 ? tick(base) : `+${distance(value as number)}`))
}

/** Distances between steps that an axis may be divided by: whole ones. */
export const WHOLE_STEPS: number[] = Array.from({ length: 16 }, (_, power) =>
  [1, 2, 5].map((n) => n * 10 ** power),
).flat()

export function xTick(axis: XAxis, value: number): string {
  if (axis === "rel" || axis === "relp") return value === 0 ? "0" : duration(value)
  return tick(value)
}

export const AXIS_NAMES: Record<string, string> = {
  step: "Step",
  wall: "Time",
  rel: "Relative time",
  relp: "Relative time, without pauses",
}

export function axisName(axis: XAxis): string {
  return axis.startsWith("m:") ? axis.slice(2) : (AXIS_NAMES[axis] ?? axis)
}
