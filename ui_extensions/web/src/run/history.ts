/**
 * One run's metrics for its panels: from the same store of series as the charts, so that all panels
 * in view are one question, and a run in progress is asked for what is new of it alone.
 */

import { useEffect, useMemo, useState } from "react"

import type { Curve } from "../data/curve"
import { poll } from "../data/poller"
import { seriesStore } from "../data/series-store"
import type { RunFacts } from "./facts"
import { isLive } from "./facts"

export type PanelX = "time" | "step"

/** Points in the order of x; where one stands for many, with the lowest and highest of them. */
export interface History {
  /** Ms, or steps. */
  readonly x: Float64Array
  readonly value: Float64Array
  readonly low: Float64Array
  readonly high: Float64Array
}

const BUCKETS = 512
const made = new WeakMap<Curve, History>()

/** A curve as points. */
export function historyOf(curve: Curve): History {
  const known = made.get(curve)
  if (known) return known
  const order = Array.from(curve.x, (_, at) => at).sort(
    (a, b) => (curve.x[a] ?? 0) - (curve.x[b] ?? 0) || a - b,
  )
  const pick = (values: ArrayLike<number>, offset: number): Float64Array =>
    Float64Array.from(order, (at) => (values[at] ?? Number.NaN) + offset)
  const history = {
    x: pick(curve.x, 0),
    value: pick(curve.last, curve.offset),
    low: pick(curve.low, curve.offset),
    high: pick(curve.high, curve.offset),
  }
  made.set(curve, history)
  return history
}

export interface Loaded {
  /** Of those metrics that have points; null before all have been asked for. */
  readonly histories: ReadonlyMap<string, History> | null
  readonly error: Error | null
  readonly retry: () => void
}

const retry = (): void => seriesStore.retry()

/** Metrics of a run along time or steps; `isNear` false asks for nothing. */
export function useHistories(
  run: RunFacts,
  wanted: readonly string[],
  x: PanelX,
  isNear: boolean,
): Loaded {
  const [version, setVersion] = useState(0)
  const keysText = JSON.stringify(wanted)
  const watched = useMemo(() => {
    if (!isNear) return null
    return (JSON.parse(keysText) as string[]).map((key) => ({
      key,
      query: {
        key,
        x: x === "time" ? ("wall" as const) : ("step" as const),
        buckets: BUCKETS,
        range: null,
        withMean: false,
        runIds: [run.id],
        grouping: null,
      asOf: null,
      },
    }))
  }, [run.id, keysText, x, isNear])
  const [series, setSeries] = useState<ReadonlyMap<string, ReturnType<typeof seriesStore.watch>["series"]>>(
    new Map(),
  )
  const live = isLive(run)
  useEffect(() => {
    if (watched === null) return
    const bump = (): void => setVersion((n) => n + 1)
    const watches = watched.map(({ key, query }) => ({ key, ...seriesStore.watch(query, bump) }))
    setSeries(new Map(watches.map((one) => [one.key, one.series])))
    // What was there from before may have grown while nobody looked.
    if (live) seriesStore.refresh([run.id])
    return () => watches.forEach((one) => one.stop())
  }, [watched, live, run.id])
  return useMemo(() => {
    const found = new Map<string, History>()
    let error: Error | null = null
    let isWhole = watched !== null
    for (const { key } of watched ?? []) {
      const one = series.get(key)
      const curve = one?.curves.get(run.id)
      error ??= one?.error ?? null
      if (curve === undefined) isWhole = false
      if (curve) found.set(key, historyOf(curve))
    }
    return { histories: isWhole ? found : null, error, retry }
    // A new version is new curves.
  }, [watched, series, version, run.id])
}

/** Ask every few seconds whether a run in progress has new points, and for them. */
export function useRunNews(run: RunFacts): void {
  const live = isLive(run)
  useEffect(() => {
    if (!live) return
    const stop = poll(
      () => ({ experiments: [], runs: [run.id] }),
      (news) => seriesStore.refresh(news),
      () => undefined,
    )
    return () => {
      stop()
      // What came with its end, if it is that.
      seriesStore.refresh([run.id])
    }
  }, [run.id, live])
}
