/** From values to pixels, the same as uPlot's axes of the card draw their ticks. */

export type ScaleKind = "linear" | "log" | "symlog"

export interface Scale {
  kind: ScaleKind
  min: number
  max: number
  /** Below it a symmetric log scale is about linear. */
  threshold: number
  /** Pixels from `min` to `max`. */
  size: number
  /** The largest value comes first, as on y. */
  isFlipped: boolean
}

function transformed(scale: Scale, value: number): number {
  if (scale.kind === "log") return value > 0 ? Math.log10(value) : NaN
  if (scale.kind === "symlog") return Math.asinh(value / scale.threshold)
  return value
}

/** Return what gives the pixel of a value; NaN where there is none. */
export function toPixel(scale: Scale): (value: number) => number {
  const low = transformed(scale, scale.min)
  const share = scale.size / (transformed(scale, scale.max) - low)
  const { kind, threshold, size } = scale
  if (scale.isFlipped) {
    if (kind === "linear") return (value) => size - (value - low) * share
    if (kind === "log") return (value) => (value > 0 ? size - (Math.log10(value) - low) * share : NaN)
    return (value) => size - (Math.asinh(value / threshold) - low) * share
  }
  if (kind === "linear") return (value) => (value - low) * share
  if (kind === "log") return (value) => (value > 0 ? (Math.log10(value) - low) * share : NaN)
  return (value) => (Math.asinh(value / threshold) - low) * share
}

/** Return the value at a pixel. */
export function toValue(scale: Scale, pixel: number): number {
  const low = transformed(scale, scale.min)
  const share = (transformed(scale, scale.max) - low) / scale.size
  const at = low + (scale.isFlipped ? scale.size - pixel : pixel) * share
  if (scale.kind === "log") return 10 ** at
  if (scale.kind === "symlog") return Math.sinh(at) * scale.threshold
  return at
}
