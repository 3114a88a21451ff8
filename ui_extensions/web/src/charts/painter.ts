/**
 * All lines of a card on one canvas, from a few bitmap layers: line `i` is in layer `i mod K`, so
 * that switching one off paints one layer again and puts them together. The raised line has a canvas
 * of its own above, and the others are made pale by the browser, not painted.
 */

import type { ChartLine } from "./line"
import type { Pen } from "./paint"
import { paintLine } from "./paint"

const SLICE_MS = 12
const MAX_LAYERS = 32

type Job = { steps: Iterator<void>; painter: Painter }

const jobs: Job[] = []
let isScheduled = false

/** Go on with what is to be painted, a slice of each frame, in the order in which it was asked. */
function run(): void {
  isScheduled = false
  const until = performance.now() + SLICE_MS
  while (jobs.length > 0 && performance.now() < until) {
    const job = jobs[0] as Job
    if (job.steps.next().done) jobs.shift()
  }
  schedule()
}

function schedule(): void {
  if (isScheduled || jobs.length === 0) return
  isScheduled = true
  requestAnimationFrame(run)
}

function layerCount(n: number): number {
  return n <= 64 ? 1 : Math.min(MAX_LAYERS, Math.ceil(n / 32))
}

export interface PainterOptions {
  base: HTMLCanvasElement
  overlay: HTMLCanvasElement
  onComplete: () => void
}

export class Painter {
  readonly #base: HTMLCanvasElement
  readonly #overlay: HTMLCanvasElement
  readonly #onComplete: () => void
  #layers: HTMLCanvasElement[] = []
  #lines: readonly ChartLine[] = []
  #pen: Omit<Pen, "context"> | null = null
  #ratio = 1
  /** Lines that the bitmap on the page holds, and the buckets of each. */
  #drawn = new Map<string, number>()
  #isComplete = false

  constructor({ base, overlay, onComplete }: PainterOptions) {
    this.#base = base
    this.#overlay = overlay
    this.#onComplete = onComplete
  }

  get isComplete(): boolean {
    return this.#isComplete
  }

  /** Ids of the lines on the page now, and how many of their buckets were painted. */
  get drawn(): ReadonlyMap<string, number> {
    return this.#drawn
  }

  /** Paint all lines anew. */
  paint(lines: readonly ChartLine[], pen: Omit<Pen, "context">, ratio: number): void {
    this.#lines = lines
    this.#pen = pen
    this.#ratio = ratio
    this.#isComplete = false
    this.#cancel()
    for (const canvas of [this.#base, this.#overlay]) this.#fit(canvas)
    jobs.push({ steps: this.#steps(), painter: this })
    schedule()
  }

  /** Show or hide a line at once: one layer is painted again. */
  toggle(lines: readonly ChartLine[], id: string): void {
    const at = lines.findIndex((line) => line.id === id)
    if (this.#pen === null) return
    if (at < 0 || !this.#isComplete) {
      // Its layer may be painted already, as it was.
      this.paint(lines, this.#pen, this.#ratio)
      return
    }
    this.#lines = lines
    this.#paintLayer(at % this.#layers.length)
    this.#compose()
    this.#onComplete()
  }

  /** Draw lines above the others, which turn pale; none to put all back. */
  raise(raised: readonly ChartLine[]): void {
    const context = this.#overlay.getContext("2d")
    if (!context || !this.#pen) return
    context.setTransform(1, 0, 0, 1, 0, 0)
    context.clearRect(0, 0, this.#overlay.width, this.#overlay.height)
    this.#base.classList.toggle("w-chart-pale", raised.length > 0)
    context.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0)
    for (const line of raised) {
      paintLine({ ...this.#pen, context, lineWidth: this.#pen.lineWidth + 1 }, line)
    }
  }

  destroy(): void {
    this.#cancel()
    for (const layer of this.#layers) layer.width = 0
    this.#layers = []
  }

  #cancel(): void {
    for (let at = jobs.length - 1; at >= 0; at -= 1) {
      if (jobs[at]?.painter === this) jobs.splice(at, 1)
    }
  }

  #fit(canvas: HTMLCanvasElement): void {
    const pen = this.#pen
    if (!pen) return
    const width = Math.max(1, Math.round(pen.width * this.#ratio))
    const height = Math.max(1, Math.round(pen.height * this.#ratio))
    if (canvas.width !== width) canvas.width = width
    if (canvas.height !== height) canvas.height = height
  }

  *#steps(): Iterator<void> {
    const k = layerCount(this.#lines.length)
    while (this.#layers.length > k) (this.#layers.pop() as HTMLCanvasElement).width = 0
    while (this.#layers.length < k) this.#layers.push(document.createElement("canvas"))
    // What is on the page stays what it is until all is put together.
    const drawn = new Map<string, number>()
    for (let layer = 0; layer < k; layer += 1) {
      const context = this.#clear(layer)
      if (!context || !this.#pen) return
      const pen: Pen = { ...this.#pen, context }
      for (let at = layer; at < this.#lines.length; at += k) {
        this.#paintOne(pen, this.#lines[at] as ChartLine, drawn)
        if (((at / k) & 7) === 7) yield
      }
    }
    this.#compose()
    this.#drawn = drawn
    this.#isComplete = true
    this.#onComplete()
  }

  #clear(layer: number): CanvasRenderingContext2D | null {
    const canvas = this.#layers[layer]
    if (!canvas) return null
    this.#fit(canvas)
    const context = canvas.getContext("2d")
    context?.setTransform(1, 0, 0, 1, 0, 0)
    context?.clearRect(0, 0, canvas.width, canvas.height)
    context?.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0)
    return context
  }

  #paintOne(pen: Pen, line: ChartLine, drawn: Map<string, number>): void {
    if (line.isVisible) drawn.set(line.id, paintLine(pen, line))
    else drawn.delete(line.id)
  }

  #paintLayer(layer: number): void {
    const context = this.#clear(layer)
    if (!context || !this.#pen) return
    const pen: Pen = { ...this.#pen, context }
    for (let at = layer; at < this.#lines.length; at += this.#layers.length) {
      this.#paintOne(pen, this.#lines[at] as ChartLine, this.#drawn)
    }
  }

  #compose(): void {
    const context = this.#base.getContext("2d")
    if (!context) return
    context.clearRect(0, 0, this.#base.width, this.#base.height)
    for (const layer of this.#layers) context.drawImage(layer, 0, 0)
  }
}
