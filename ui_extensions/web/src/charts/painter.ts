/**
 * All lines of a card on one canvas. They are painted straight onto it first; when there is nothing
 * else to do, they are painted once more into a few bitmap layers: line `i` is in layer `i mod K`, so
 * that switching one off paints one layer again and puts them together, a group of layers at a time.
 * The raised line has a canvas of its own above, and the others are made pale by the browser, not
 * painted.
 */

import type { ChartLine } from "./line"
import type { Area } from "./area"
import { areaOf } from "./area"
import type { Pen } from "./paint"
import { paintBehind, paintFront, paintLine } from "./paint"

const SLICE_MS = 12
const MAX_LAYERS = 32
/** Layers that are put together before all are, so that a change of one touches few bitmaps. */
const GROUP = 6
const LINES_A_STEP = 8

type Job = { steps: Iterator<void>; painter: Painter; isIdle: boolean }

const jobs: Job[] = []
let isScheduled = false

/** Go on with what is to be painted, a slice of each frame: what is seen first, layers after it. */
function run(): void {
  isScheduled = false
  const until = performance.now() + SLICE_MS
  for (let job = nextJob(); job !== undefined && performance.now() < until; job = nextJob()) {
    if (job.steps.next().done) jobs.splice(jobs.indexOf(job), 1)
  }
  schedule()
}

function nextJob(): Job | undefined {
  return jobs.find((job) => !job.isIdle) ?? jobs[0]
}

function schedule(): void {
  if (isScheduled || jobs.length === 0) return
  isScheduled = true
  if (nextJob()?.isIdle && "requestIdleCallback" in window) requestIdleCallback(run, { timeout: 1_000 })
  else requestAnimationFrame(run)
}

/** How many layers so many lines are in. */
export function layerCount(n: number): number {
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
  /** Painted in slices, and shown as a whole. */
  #hidden: HTMLCanvasElement | null = null
  #layers: HTMLCanvasElement[] = []
  #groups: HTMLCanvasElement[] = []
  #hasLayers = false
  /** Lines that were painted on top of the others, until their layers have them too. */
  readonly #onTop = new Map<string, Area>()
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

  /** How often all lines of a chart were painted, for tests. */
  static paints = 0

  /** Paint all lines anew. */
  paint(lines: readonly ChartLine[], pen: Omit<Pen, "context">, ratio: number): void {
    Painter.paints += 1
    this.#lines = lines
    this.#pen = pen
    this.#ratio = ratio
    this.#isComplete = false
    this.#hasLayers = false
    this.#onTop.clear()
    this.#cancel()
    for (const canvas of [this.#base, this.#overlay]) this.#fit(canvas)
    jobs.push({ steps: this.#paintAll(), painter: this, isIdle: false })
    schedule()
  }

  /** Show a line on top of the others, or hide it at once: one layer is painted again. */
  toggle(lines: readonly ChartLine[], id: string): void {
    const line = lines.find((one) => one.id === id)
    if (this.#pen === null) return
    if (line === undefined || !this.#isComplete || !this.#hasLayers) {
      // Its layer may be painted already, as it was.
      this.paint(lines, this.#pen, this.#ratio)
      return
    }
    this.#lines = lines
    // Nothing else changes than what the line may have touched.
    const area = areaOf(line, this.#pen, this.#ratio)
    const context = this.#base.getContext("2d")
    if (line.isVisible && context) {
      context.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0)
      this.#paintOne({ ...this.#pen, context }, line, this.#drawn)
      if (this.#onTop.size === 0) jobs.push({ steps: this.#settle(), painter: this, isIdle: true })
      this.#onTop.set(id, area)
    } else {
      this.#onTop.delete(id)
      this.#renew(lines.indexOf(line), area)
      this.#compose(area)
      if (this.#onTop.size > 0) this.#paintOnTop()
    }
    schedule()
    this.#onComplete()
  }

  /** Paint the layer of a line again, and those that lie in one group with it. */
  #renew(at: number, area: Area): void {
    const layer = at % this.#layers.length
    this.#paintLayer(layer, area)
    this.#composeGroup(Math.floor(layer / GROUP), area)
  }

  /** Put the lines that are on top where they belong. */
  *#settle(): Iterator<void> {
    for (let one = first(this.#onTop); one !== undefined; one = first(this.#onTop)) {
      const [id, area] = one
      const at = this.#lines.findIndex((line) => line.id === id)
      if (at >= 0) {
        this.#renew(at, area)
        this.#compose(area)
      }
      this.#onTop.delete(id)
      // Where both are, composing took away what still is on top.
      this.#paintOnTop()
      yield
    }
  }

  #paintOnTop(): void {
    const context = this.#base.getContext("2d")
    if (!context || !this.#pen) return
    context.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0)
    for (const line of this.#lines) {
      if (this.#onTop.has(line.id)) this.#paintOne({ ...this.#pen, context }, line, this.#drawn)
    }
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
    // Memory of canvases is let go of at once only so.
    for (const canvas of [...this.#layers, ...this.#groups]) canvas.width = 0
    if (this.#hidden) this.#hidden.width = 0
    this.#layers = []
    this.#groups = []
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

  /** All lines onto one canvas, in the order in which the layers would lie upon each other. */
  *#paintAll(): Iterator<void> {
    const k = layerCount(this.#lines.length)
    this.#hidden ??= document.createElement("canvas")
    const context = this.#clear(this.#hidden)
    if (!context || !this.#pen) return
    const pen: Pen = { ...this.#pen, context }
    const drawn = new Map<string, number>()
    for (let layer = 0; layer < k; layer += 1) yield* this.#paintOnto(pen, layer, k, drawn)
    // What is on the page stays what it is until all is there.
    copy(this.#hidden, this.#base)
    this.#drawn = drawn
    this.#isComplete = true
    this.#onComplete()
    if (this.#lines.length > 1) {
      jobs.push({ steps: this.#makeLayers(k), painter: this, isIdle: true })
    }
  }

  *#makeLayers(k: number): Iterator<void> {
    const nGroups = Math.ceil(k / GROUP)
    resize(this.#layers, k)
    resize(this.#groups, nGroups)
    const ignored = new Map<string, number>()
    for (let layer = 0; layer < k; layer += 1) {
      const context = this.#clear(this.#layers[layer])
      if (!context || !this.#pen) return
      const pen: Pen = { ...this.#pen, context }
      yield* this.#paintOnto(pen, layer, k, ignored)
    }
    for (let group = 0; group < nGroups; group += 1) {
      this.#composeGroup(group, null)
      yield
    }
    this.#hasLayers = true
  }

  #clear(canvas: HTMLCanvasElement | undefined): CanvasRenderingContext2D | null {
    if (!canvas) return null
    this.#fit(canvas)
    const context = canvas.getContext("2d")
    context?.setTransform(1, 0, 0, 1, 0, 0)
    context?.clearRect(0, 0, canvas.width, canvas.height)
    context?.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0)
    return context
  }

  /** The lines of a layer, and before all of them what lies behind: no band covers another's line. */
  *#paintOnto(pen: Pen, layer: number, k: number, drawn: Map<string, number>): Generator<void> {
    let n = 0
    for (const isBehind of [true, false]) {
      for (let at = layer; at < this.#lines.length; at += k) {
        const line = this.#lines[at] as ChartLine
        if (!line.isVisible) drawn.delete(line.id)
        else if (isBehind) paintBehind(pen, line)
        else drawn.set(line.id, paintFront(pen, line))
        n += 1
        if (n % LINES_A_STEP === 0) yield
      }
    }
  }

  #paintOne(pen: Pen, line: ChartLine, drawn: Map<string, number>): void {
    if (line.isVisible) drawn.set(line.id, paintLine(pen, line))
    else drawn.delete(line.id)
  }

  #paintLayer(layer: number, area: Area): void {
    const canvas = this.#layers[layer]
    const context = canvas?.getContext("2d")
    if (!canvas || !context || !this.#pen) return
    const pen: Pen = { ...this.#pen, context }
    within(canvas, context, area, () => {
      context.setTransform(this.#ratio, 0, 0, this.#ratio, 0, 0)
      const steps = this.#paintOnto(pen, layer, this.#layers.length, this.#drawn)
      while (!steps.next().done);
    })
  }

  /** Put some layers together; with a single group, that is all of them. */
  #composeGroup(group: number, area: Area | null): void {
    const canvas = this.#groups[group]
    if (!canvas) return
    this.#fit(canvas)
    const context = canvas.getContext("2d")
    if (!context) return
    within(canvas, context, area, () => {
      for (const layer of this.#layers.slice(group * GROUP, (group + 1) * GROUP)) {
        context.drawImage(layer, 0, 0)
      }
    })
  }

  #compose(area: Area): void {
    const context = this.#base.getContext("2d")
    if (!context) return
    within(this.#base, context, area, () => {
      for (const group of this.#groups) context.drawImage(group, 0, 0)
    })
  }
}

/** Clear a part of a canvas, or all of it, and draw there alone, in its own pixels. */
function within(
  canvas: HTMLCanvasElement,
  context: CanvasRenderingContext2D,
  area: Area | null,
  draw: () => void,
): void {
  context.save()
  context.setTransform(1, 0, 0, 1, 0, 0)
  if (area !== null) {
    context.beginPath()
    for (const [left, top, width, height] of area) context.rect(left, top, width, height)
    context.clip()
  }
  context.clearRect(0, 0, canvas.width, canvas.height)
  draw()
  context.restore()
}

function copy(from: HTMLCanvasElement, to: HTMLCanvasElement): void {
  const context = to.getContext("2d")
  context?.clearRect(0, 0, to.width, to.height)
  context?.drawImage(from, 0, 0)
}

function first<K, V>(map: ReadonlyMap<K, V>): [K, V] | undefined {
  const found = map.entries().next()
  return found.done ? undefined : found.value
}

function resize(canvases: HTMLCanvasElement[], n: number): void {
  while (canvases.length > n) (canvases.pop() as HTMLCanvasElement).width = 0
  while (canvases.length < n) canvases.push(document.createElement("canvas"))
}
