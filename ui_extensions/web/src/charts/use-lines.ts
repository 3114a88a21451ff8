/** The lines of a card: its query, what has come of it, and runs made into lines. */

import { useCallback, useEffect, useMemo, useRef, useState } from "react"

import { useAsOf } from "../data/as-of"
import type { BandCurve, Curve } from "../data/curve"
import type { Grouping, Query, Series } from "../data/series-store"
import { seriesStore } from "../data/series-store"
import { smoother } from "../data/smoother"
import type { ChartLine } from "./line"
import { bandAsCurve, gapOf } from "./line"
import type { ChartSettings, DrawnRun } from "./types"

const FEW_RUNS = 100
const SOME_RUNS = 300
const IDLE_MS = 600

/** Buckets a run, as `docs/charts.md` has them: the plot's width for few runs, less for many. */
export function bucketsFor(nRuns: number, width: number): number {
  if (nRuns <= FEW_RUNS) return Math.max(128, Math.min(2_500, Math.ceil(width / 128) * 128))
  return nRuns <= SOME_RUNS ? 128 : 64
}

export interface CardLines {
  lines: readonly ChartLine[]
  isLoading: boolean
  error: Error | null
  /** Of the line with most points: how many, and as how many buckets. */
  most: { points: number; buckets: number } | null
  /** Runs of the card that have no point of any of its metrics. */
  without: number
}

interface Asked {
  keys: readonly string[]
  runs: readonly DrawnRun[]
  settings: ChartSettings
  buckets: number
}

interface Ids {
  visible: readonly string[]
  all: readonly string[]
}
const idsOf = new WeakMap<readonly DrawnRun[], Ids>()
const namesOf = new WeakMap<readonly string[], string>()

/** The ids of runs, found once for all cards. */
function runIds(runs: readonly DrawnRun[], withHidden: boolean): readonly string[] {
  let ids = idsOf.get(runs)
  if (ids === undefined) {
    const all = runs.map((run) => run.id)
    const visible = runs.filter((run) => run.isVisible).map((run) => run.id)
    ids = { all, visible }
    idsOf.set(runs, ids)
  }
  return withHidden ? ids.all : ids.visible
}

function nameOf(ids: readonly string[]): string {
  let name = namesOf.get(ids)
  if (name === undefined) {
    name = ids.join()
    namesOf.set(ids, name)
  }
  return name
}

/** Watch one query for each metric; hidden runs are asked for when the visible ones are there. */
function useSeries({ keys, runs, settings, buckets }: Asked): { series: Series[]; version: number } {
  const [version, setVersion] = useState(0)
  const [withHidden, setWithHidden] = useState(false)
  const ids = runIds(runs, withHidden)
  const grouping = useMemo<Grouping | null>(() => {
    if (settings.groups === null) return null
    return {
      groups: settings.groups.map((group) => group.runIds),
      centre: settings.centre,
      band: settings.band,
    }
  }, [settings.groups, settings.centre, settings.band])
  const { x, zoom } = settings
  const withMean = settings.smoothing.kind !== "none"
  const asOf = useAsOf()
  const name = `${JSON.stringify([keys, x, zoom, buckets, withMean, grouping, asOf])} ${nameOf(ids)}`
  const [asked, setAsked] = useState<{ name: string; series: Series[] }>({ name: "", series: [] })
  // By what the question is, not by which objects it is made of.
  // biome-ignore lint: `name` stands for all of them
  useEffect(() => {
    const found: Series[] = []
    const stops: (() => void)[] = []
    const ranges: (readonly [number, number] | null)[] =
      zoom === null || x === "relp" || x.startsWith("m:") || grouping !== null ? [null] : [null, zoom]
    for (const key of keys) {
      for (const range of ranges) {
        const query: Query = {
          key,
          x,
          buckets,
          range: range === null ? null : [Math.floor(range[0]), Math.ceil(range[1])],
          withMean,
          runIds: ids,
          grouping,
          asOf,
        }
        const watched = seriesStore.watch(query, () => setVersion((n) => n + 1))
        found.push(watched.series)
        stops.push(watched.stop)
      }
    }
    setAsked({ name, series: found })
    return () => {
      for (const stop of stops) stop()
    }
  }, [name])
  useEffect(() => {
    const timer = setTimeout(() => setWithHidden(true), IDLE_MS)
    return () => clearTimeout(timer)
  }, [])
  // What was asked before is another question's.
  return { series: asked.name === name ? asked.series : NO_SERIES, version }
}

const NOTHING: ReadonlyMap<string, Held> = new Map()
const NO_SERIES: Series[] = []
const UNKNOWN: Series = { curves: new Map(), bands: null, error: null }

interface Held {
  line: ChartLine
  smoothingKey: string
}

/** Lines by the run they were made of: one that is the same object has the same line. */
class HeldByRun {
  #keys: readonly string[] = []
  #x = ""
  #held: WeakMap<DrawnRun, Held>[] = []

  of(keys: readonly string[], x: string): WeakMap<DrawnRun, Held>[] {
    if (keys !== this.#keys || x !== this.#x) {
      this.#keys = keys
      this.#x = x
      this.#held = keys.map(() => new WeakMap<DrawnRun, Held>())
    }
    return this.#held
  }
}

export function useLines(asked: Asked): CardLines {
  const { keys, runs, settings } = asked
  const { series, version } = useSeries(asked)
  const held = useRef(new Map<string, Held>())
  const heldByRun = useRef(new HeldByRun())
  const heldAxis = useRef(settings.x)
  const [smoothedAt, setSmoothedAt] = useState(0)
  const onSmoothed = useCallback(() => setSmoothedAt((n) => n + 1), [])
  const lastLines = useRef<readonly ChartLine[]>([])
  return useMemo(() => {
    void version
    void smoothedAt
    const before = held.current
    // Finer buckets, or other means, are waited for with what there is; another axis is not.
    const shown = heldAxis.current === settings.x ? before : NOTHING
    heldAxis.current = settings.x
    const quick = heldByRun.current.of(keys, settings.x)
    const isTime = settings.x === "wall" || settings.x === "rel"
    const perKey = series.length / Math.max(1, keys.length)
    const found: CardLines = { lines: [], isLoading: false, error: null, most: null, without: 0 }
    const lines: ChartLine[] = []
    const range = settings.smoothing.kind === "none" ? 0 : spanOf(series)
    const smoothingKey = JSON.stringify([settings.smoothing, range])
    const put = (
      id: string,
      curve: Curve,
      band: BandCurve | null,
      rest: Pick<ChartLine, "runId" | "key" | "name" | "colour" | "dash" | "isVisible">,
    ): Held => {
      const old = before.get(id)
      const known = old?.line.curve === curve ? old : undefined
      const isSmooth = settings.smoothing.kind !== "none" && settings.smoothing.amount > 0
      let key = smoothingKey
      let smoothed: Float64Array | null = known?.line.smoothed ?? null
      if (!isSmooth) smoothed = null
      else if (known?.smoothingKey !== smoothingKey) {
        const values = smoother.get(curve, range, settings.smoothing, onSmoothed)
        // Until it is there, the line stays as it was.
        if (values === null) key = ""
        else smoothed = values
      }
      let line: ChartLine
      if (known && known.line.smoothed === smoothed) {
        const old = known
        const isSame =
          old.line.colour === rest.colour &&
          old.line.isVisible === rest.isVisible &&
          old.line.name === rest.name &&
          old.line.dash === rest.dash
        line = isSame ? old.line : { ...old.line, ...rest }
      } else {
        line = {
          id,
          curve,
          band,
          smoothed,
          gap: isTime ? gapOf(curve) : Infinity,
          ...rest,
        }
      }
      const kept = { line, smoothingKey: key }
      before.set(id, kept)
      lines.push(line)
      return kept
    }
    keys.forEach((key, keyAt) => {
      const coarse = series[keyAt * perKey] ?? UNKNOWN
      const fine = perKey > 1 ? series[keyAt * perKey + 1] : undefined
      found.error ??= coarse.error ?? fine?.error ?? null
      if (settings.groups !== null) {
        if (coarse.bands === null) found.isLoading = coarse.error === null
        settings.groups.forEach((group, at) => {
          const id = `${group.key}\0${key}`
          const band = coarse.bands === null ? shown.get(id)?.line.band : coarse.bands[at]
          if (!band) return
          // The same object as long as the band is, so that nothing is painted for nothing.
          const old = before.get(id)?.line
          const curve = old?.band === band ? old.curve : bandAsCurve(band)
          put(id, curve, band, {
            runId: `group:${group.key}`,
            key,
            name: group.label,
            colour: group.colour,
            dash: (keyAt % 3) as 0 | 1 | 2,
            isVisible: true,
          })
        })
        return
      }
      let nMissing = 0
      for (const run of runs) {
        if (run.isPending) {
          nMissing += 1
          continue
        }
        let curve = fine?.curves.get(run.id) ?? coarse.curves.get(run.id)
        if (curve === undefined) {
          if (run.isVisible) nMissing += 1
          curve = shown.get(`${run.id}\0${key}`)?.line.curve
        }
        if (curve === null && run.isVisible) found.without += 1
        if (!curve) continue
        if (run.isVisible && (found.most === null || curve.shown > found.most.points)) {
          found.most = { points: curve.shown, buckets: curve.x.length }
        }
        const known = quick[keyAt]?.get(run)
        if (known?.line.curve === curve && known.smoothingKey === smoothingKey) {
          lines.push(known.line)
          continue
        }
        const kept = put(`${run.id}\0${key}`, curve, null, {
          runId: run.id,
          key,
          name: run.name,
          colour: run.colour,
          dash: keys.length > 1 ? ((keyAt % 3) as 0 | 1 | 2) : run.dash,
          isVisible: run.isVisible,
        })
        quick[keyAt]?.set(run, kept)
      }
      if (nMissing > 0) found.isLoading = coarse.error === null
    })
    if (before.size > 2 * lines.length + 100) {
      const wanted = new Set(lines.map((line) => line.id))
      for (const id of before.keys()) if (!wanted.has(id)) before.delete(id)
    }
    // The same array as long as its lines are, so that nothing is painted for nothing.
    const last = lastLines.current
    const isSame = last.length === lines.length && lines.every((line, at) => line === last[at])
    if (!isSame) lastLines.current = lines
    return { ...found, lines: lastLines.current }
  }, [series, version, smoothedAt, onSmoothed, keys, runs, settings])
}

const spans = new WeakMap<Curve, readonly [number, number]>()

/** How far x goes over all data of a card, zoom or not. */
function spanOf(series: readonly Series[]): number {
  let min = Infinity
  let max = -Infinity
  for (const one of series) {
    for (const curve of one.curves.values()) {
      if (curve === null || curve.x.length === 0) continue
      let span = spans.get(curve)
      if (span === undefined) {
        span = [curve.x[0] as number, curve.x[curve.x.length - 1] as number]
        spans.set(curve, span)
      }
      if (span[0] < min) min = span[0]
      if (span[1] > max) max = span[1]
    }
    one.bands?.forEach((band) => {
      if (!band || band.x.length === 0) return
      min = Math.min(min, band.x[0] as number)
      max = Math.max(max, band.x[band.x.length - 1] as number)
    })
  }
  return max > min ? max - min : 0
}
