/**
 * Smoothed lines: what takes a moment at once, what takes longer in a worker, one batch after the
 * other; a slider that has moved on is not waited for.
 */

import type { Curve } from "./curve"
import type { Smoothing } from "./smoothing"
import { smooth } from "./smoothing"
import { startSmoothing } from "./smoothing-thread"
import type { SmoothingLine, SmoothingQuestion } from "./smoothing-worker"

/** Steps of arithmetic that are done at once in a turn of the page: some milliseconds. */
const AT_ONCE = 400_000
/** Lines that the worker is given at a time. */
const BATCH = 25
const TELL_MS = 500

/** Means of a curve's buckets, or last values where there are none; what has no number is NaN. */
export function meansOf(curve: Curve): Float64Array {
  const means = curve.mean ?? curve.last
  const values = new Float64Array(means.length)
  for (let at = 0; at < values.length; at += 1) {
    const isOdd = curve.inf !== null && curve.mean === null && !Number.isFinite(curve.last[at])
    values[at] = isOdd ? NaN : (means[at] as number) + curve.offset
  }
  return values
}

/** About how many steps a line takes. */
export function stepsOf(n: number, { kind, amount }: Smoothing): number {
  if (kind === "gauss") return n * Math.max(1, Math.min(n, (6 * amount * n) / 1_000))
  if (kind === "mean") return n * Math.max(1, Math.min(n, amount))
  return 4 * n
}

interface Wanted {
  range: number
  smoothing: Smoothing
  key: string
  onReady: () => void
}

export class Smoother {
  readonly #found = new WeakMap<Curve, { key: string; values: Float64Array }>()
  /** In the order in which they were asked for; of each curve the last wish only. */
  readonly #wanted = new Map<Curve, Wanted>()
  #worker: Worker | null = null
  #isBusy = false
  #spent = 0

  /**
   * A curve's smoothed values, or null where they are under way: `onReady` is called then.
   *
   * @param range Of x, over all data of the card.
   */
  get(curve: Curve, range: number, smoothing: Smoothing, onReady: () => void): Float64Array | null {
    const key = `${smoothing.kind} ${smoothing.amount} ${range}`
    const known = this.#found.get(curve)
    if (known?.key === key) {
      this.#wanted.delete(curve)
      return known.values
    }
    const steps = stepsOf(curve.x.length, smoothing)
    if (this.#spent + steps <= AT_ONCE || (this.#worker ??= startSmoothing()) === null) {
      this.#spend(steps)
      const values = smooth(curve.x, meansOf(curve), curve.count, range, smoothing)
      this.#found.set(curve, { key, values })
      this.#wanted.delete(curve)
      return values
    }
    this.#wanted.set(curve, { range, smoothing, key, onReady })
    this.#next()
    return null
  }

  #spend(steps: number): void {
    if (this.#spent === 0) {
      setTimeout(() => {
        this.#spent = 0
      })
    }
    this.#spent += steps
  }

  #toldAt = 0

  /** A chart is painted when all its lines are there, or after a while those that are. */
  #tell(ready: ReadonlySet<() => void>): void {
    const isLong = performance.now() - this.#toldAt > TELL_MS
    const waiting = new Set([...this.#wanted.values()].map((wanted) => wanted.onReady))
    for (const onReady of ready) if (isLong || !waiting.has(onReady)) onReady()
    if (isLong) this.#toldAt = performance.now()
  }

  #isScheduled = false

  #next(): void {
    if (this.#isBusy || this.#isScheduled) return
    this.#isScheduled = true
    // After all that is asked for in this turn is known.
    queueMicrotask(() => {
      this.#isScheduled = false
      this.#send()
    })
  }

  #send(): void {
    const [first] = this.#wanted.values()
    if (first === undefined || this.#isBusy) return
    const batch: [Curve, Wanted][] = []
    for (const one of this.#wanted) {
      if (one[1].key === first.key) batch.push(one)
      if (batch.length === BATCH) break
    }
    for (const [curve] of batch) this.#wanted.delete(curve)
    const lines = batch.map(([curve]): SmoothingLine => ({
      x: curve.x.slice(), // a view of a larger buffer, which cannot be given away
      m: meansOf(curve),
      n: curve.count?.slice() ?? null,
    }))
    const question: SmoothingQuestion = { lines, range: first.range, smoothing: first.smoothing }
    const transfer = lines.flatMap(({ x, m, n }) => [x.buffer, m.buffer, ...(n ? [n.buffer] : [])])
    const worker = (this.#worker ??= startSmoothing())
    if (worker === null) return // there was one when this was wanted
    this.#isBusy = true
    const done = (found: readonly Float64Array[]): void => {
      this.#isBusy = false
      found.forEach((values, at) => {
        const [curve, { key }] = batch[at] as [Curve, Wanted]
        this.#found.set(curve, { key, values })
      })
      this.#tell(new Set(batch.map(([, wanted]) => wanted.onReady)))
      this.#next()
    }
    worker.onmessage = (event: MessageEvent<Float64Array[]>) => done(event.data)
    worker.onerror = () => {
      // Without it, slowly is better than not at all.
      worker.terminate()
      this.#worker = null
      done(
        batch.map(([curve, { range, smoothing }]) =>
          smooth(curve.x, meansOf(curve), curve.count, range, smoothing),
        ),
      )
    }
    worker.postMessage(question, transfer)
  }
}

export const smoother = new Smoother()
