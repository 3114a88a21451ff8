/** Smooths lines where the page cannot be held up by it. Arrays come and go without being copied. */

import type { Smoothing } from "./smoothing"
import { smooth } from "./smoothing"

export interface SmoothingLine {
  x: Float64Array
  m: Float64Array
  n: Uint32Array | null
}

export interface SmoothingQuestion {
  lines: SmoothingLine[]
  range: number
  smoothing: Smoothing
}

onmessage = (event: MessageEvent<SmoothingQuestion>): void => {
  const { lines, range, smoothing } = event.data
  const found = lines.map(({ x, m, n }) => smooth(x, m, n, range, smoothing))
  postMessage(found, { transfer: found.map((one) => one.buffer) })
}
