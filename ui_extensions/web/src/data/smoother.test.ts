// @vitest-environment node
import { afterEach, describe, expect, it, vi } from "vitest"

import type { Curve } from "./curve"
import { meansOf, Smoother, stepsOf } from "./smoother"
import type { Smoothing } from "./smoothing"
import { smooth } from "./smoothing"
import type { SmoothingQuestion } from "./smoothing-worker"

function curve(n: number): Curve {
  const values = Float64Array.from({ length: n }, (_, at) => Math.sin(at))
  return {
    x: Float64Array.from({ length: n }, (_, at) => at),
    low: values,
    high: values,
    last: values,
    offset: 2,
    count: null,
    mean: null,
    nan: null,
    inf: null,
    piece: null,
    total: n,
    shown: n,
  }
}

/** Answers when it is told to, with what tells which question it was. */
class LaterWorker {
  static readonly all: LaterWorker[] = []
  onmessage: ((event: { data: Float64Array[] }) => void) | null = null
  readonly asked: SmoothingQuestion[] = []
  nAnswered = 0

  constructor() {
    LaterWorker.all.push(this)
  }

  postMessage(question: SmoothingQuestion): void {
    this.asked.push(question)
  }

  answer(): void {
    const question = this.asked[this.nAnswered++] as SmoothingQuestion
    const { lines, smoothing } = question
    this.onmessage?.({ data: lines.map(({ m }) => m.map((value) => value + smoothing.amount)) })
  }
}

const LIGHT: Smoothing = { kind: "twema", amount: 0.6, original: true }
const HEAVY: Smoothing = { kind: "gauss", amount: 100, original: true }
const turn = (): Promise<void> => new Promise((done) => setTimeout(done))

afterEach(() => {
  vi.unstubAllGlobals()
  LaterWorker.all.length = 0
})

describe("smoothing", () => {
  it("is at once where it takes a moment, and found once", () => {
    vi.stubGlobal("Worker", LaterWorker)
    const smoother = new Smoother()
    const one = curve(100)
    const found = smoother.get(one, 99, LIGHT, () => undefined)
    expect(found).toEqual(smooth(one.x, meansOf(one), null, 99, LIGHT))
    expect(smoother.get(one, 99, LIGHT, () => undefined)).toBe(found)
    expect(LaterWorker.all).toHaveLength(0)
  })

  it("is a worker's where it takes longer, the last wish of each line alone", async () => {
    vi.stubGlobal("Worker", LaterWorker)
    const smoother = new Smoother()
    const lines = Array.from({ length: 30 }, () => curve(2_000))
    expect(stepsOf(2_000, HEAVY)).toBeGreaterThan(400_000)
    const onReady = vi.fn()
    for (const one of lines) expect(smoother.get(one, 1_999, HEAVY, onReady)).toBeNull()
    await turn()
    const [worker] = LaterWorker.all
    if (worker === undefined) throw new Error("no worker")
    expect(worker.asked.map((question) => question.lines.length)).toEqual([25])
    // The slider moves on while the first ones are under way: what was not sent yet is never asked.
    const next: Smoothing = { ...HEAVY, amount: 120 }
    for (const one of lines) smoother.get(one, 1_999, next, onReady)
    worker.answer()
    await turn()
    worker.answer()
    await turn()
    worker.answer()
    await turn()
    expect(worker.asked.map((question) => question.smoothing.amount)).toEqual([100, 120, 120])
    expect(onReady).toHaveBeenCalled()
    for (const one of lines) {
      expect(smoother.get(one, 1_999, next, onReady)).toEqual(meansOf(one).map((value) => value + 120))
    }
    expect(worker.asked).toHaveLength(3)
  })
})
