import { afterEach, expect, it, vi } from "vitest"

import type { ChartLine } from "./line"
import type { Pen } from "./paint"
import { Painter } from "./painter"

const painted: string[] = []

/** A pen that notes the colour of each area and line. */
function context(): unknown {
  const known: Record<string, unknown> = {
    fill: () => painted.push(`area ${String(known["fillStyle"])}`),
    stroke: () => painted.push(`line ${String(known["strokeStyle"])}`),
  }
  return new Proxy(known, {
    get: (all, name) => all[String(name)] ?? (() => undefined),
    set: (all, name, value) => Reflect.set(all, name, value),
  })
}

function canvas(): HTMLCanvasElement {
  const own = context()
  return { getContext: () => own, classList: { toggle: () => undefined } } as unknown as HTMLCanvasElement
}

function group(id: string): ChartLine {
  const x = Float64Array.of(0, 1, 2, 3)
  const last = Float32Array.of(1, 2, 3, 4)
  return {
    id, runId: id, key: "loss", name: id, colour: id, dash: 0, isVisible: true,
    curve: {
      x, last, low: last, high: last, offset: 0, count: null, mean: null, nan: null, inf: null, piece: null,
      total: 4, shown: 4,
    },
    smoothed: null,
    band: { x, n: Uint32Array.of(2, 2, 2, 2), centre: x, low: x, high: x.map((one) => one + 1) },
    gap: Infinity,
  }
}

afterEach(() => vi.unstubAllGlobals())

it("covers no group's line by the band of another", () => {
  vi.stubGlobal("document", { createElement: canvas })
  vi.stubGlobal("window", {})
  vi.stubGlobal("requestAnimationFrame", (run: () => void) => run())
  let isDone = false
  const painter = new Painter({ base: canvas(), overlay: canvas(), onComplete: () => (isDone = true) })
  const pen: Omit<Pen, "context"> = {
    x: (value) => value, y: (value) => value, width: 10, height: 10, lineWidth: 1,
    hasStrokes: false, hasShade: false, hasDashes: false, isFaintOriginal: false, hasMarks: false,
  }
  painter.paint(["red", "blue"].map(group), pen, 1)
  expect(isDone).toBe(true)
  expect(painted.slice(0, 4)).toEqual(["area red", "area blue", "line red", "line blue"])
})
