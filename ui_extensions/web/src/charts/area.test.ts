import { describe, expect, it } from "vitest"

import { areaOf } from "./area"
import type { ChartLine } from "./line"
import type { Pen } from "./paint"
import { paintLine } from "./paint"

const WIDTH = 300
const HEIGHT = 200

/** Where a pen has been, sampled along what it drew. */
class Trace {
  points: [number, number][] = []
  #at: [number, number] | null = null
  strokeStyle = ""
  fillStyle = ""
  lineWidth = 1
  lineJoin = ""
  globalAlpha = 1
  beginPath(): void {
    this.#at = null
  }
  stroke(): void {}
  fill(): void {}
  closePath(): void {}
  setLineDash(): void {}
  arc(x: number, y: number, radius: number): void {
    for (const [dx, dy] of [[radius, 0], [-radius, 0], [0, radius], [0, -radius]] as const) this.points.push([x + dx, y + dy])
  }
  moveTo(x: number, y: number): void {
    this.#at = [x, y]
  }
  lineTo(x: number, y: number): void {
    const [fromX, fromY] = this.#at ?? [x, y] // the first of a path only goes there
    for (let step = 0; step <= 20; step += 1) {
      this.points.push([fromX + ((x - fromX) * step) / 20, fromY + ((y - fromY) * step) / 20])
    }
    this.#at = [x, y]
  }
}

function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}

function lineOf(seed: number, n: number, shape: { nan?: boolean; back?: boolean; smoothed?: boolean }): ChartLine {
  const next = random(seed)
  const x = Float64Array.from({ length: n }, (_, at) => (shape.back && at > n / 2 ? at - n / 3 : at) * (WIDTH / n))
  const last = Float32Array.from({ length: n }, () => (next() < 0.05 ? 180 * next() : 20 * next()))
  if (shape.nan) for (let at = 3; at < n; at += 7) last[at] = NaN
  return {
    id: "a",
    runId: "a",
    key: "loss",
    name: "a",
    colour: "#000",
    dash: 0,
    isVisible: true,
    curve: {
      x,
      low: last.map((value) => value - 5 * next()),
      high: last.map((value) => value + 5 * next()),
      last,
      offset: 3,
      count: new Uint32Array(n).fill(2),
      mean: null,
      nan: null,
      inf: null,
      piece: shape.back ? Uint8Array.from({ length: n }, (_, at) => (at > n / 2 ? 1 : 0)) : null,
      total: 2 * n,
      shown: 2 * n,
    },
    smoothed: shape.smoothed ? Float64Array.from(last, (value) => value * 0.5 + 40) : null,
    band: null,
    gap: Infinity,
  }
}

describe("the part of a canvas that a line may have touched", () => {
  it.each([
    [1, 1, {}],
    [2, 2, {}],
    [3, 64, {}],
    [4, 500, {}],
    [5, 64, { nan: true }],
    [6, 64, { back: true }],
    [7, 64, { smoothed: true }],
    [8, 5, { nan: true, smoothed: true }],
  ] as const)("holds all that is painted (%i: %i buckets)", (seed, n, shape) => {
    const trace = new Trace()
    const pen: Omit<Pen, "context"> = {
      x: (value) => value,
      y: (value) => HEIGHT - value,
      width: WIDTH,
      height: HEIGHT,
      lineWidth: 1.5,
      hasStrokes: true,
      hasShade: true,
      hasDashes: true,
      isFaintOriginal: true,
      hasMarks: n < 60,
    }
    const line = lineOf(seed, n, shape)
    paintLine({ ...pen, context: trace as unknown as CanvasRenderingContext2D }, line)
    expect(trace.points.length).toBeGreaterThan(0)
    for (const ratio of [1, 1.5, 2]) {
      const area = areaOf(line, pen, ratio)
      const reach = 1 // half a line and its joints
      const outside = trace.points.filter(([x, y]) => {
        const corners = [[x - reach, y - reach], [x + reach, y + reach]] as const
        return corners.some(([left, top]) => {
          const px = Math.max(0, Math.min(WIDTH - 0.01, left)) * ratio
          const py = Math.max(0, Math.min(HEIGHT - 0.01, top)) * ratio
          return !area.some(([l, t, w, h]) => px >= l && px <= l + w && py >= t && py <= t + h)
        })
      })
      expect(outside).toEqual([])
    }
    // Or it would be all of the chart, and of no use.
    const size = areaOf(line, pen, 1).reduce((sum, [, , w, h]) => sum + w * h, 0)
    if (n === 64 && !("nan" in shape) && !("smoothed" in shape)) expect(size).toBeLessThan(0.9 * WIDTH * HEIGHT)
  })
})
