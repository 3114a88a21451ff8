/**
 * The series that are shown or were shown: asked for together, kept in memory, continued as runs
 * grow. A set holds one metric along one axis at one width, by run; what is in it is not asked for
 * again. Nothing is stored in the browser.
 */

import { isAbort } from "../api/client"
import { AGAIN_MS, isAway } from "../api/error"
import { SERIES_BUCKETS, SERIES_LINES } from "../api/limits"
import type { XAxis } from "../charts/types"
import { askSeries } from "./ask-series"
import type { BandCurve, Curve } from "./curve"
import { continued, growthPoint } from "./curve"
import type { Part } from "./parts"

const GATHER_MS = 30
/** The browser's clock and the server's. */
const MAX_CLOCKS_APART_MS = 60_000
const MAX_BYTES = 256 * 2 ** 20
const BYTES_A_BUCKET = 36
const MAX_RUNS = 5_000
const MAX_PARTS = 60

export interface Grouping {
  /** Ids of each group's runs; the order is that of the answer. */
  groups: string[][]
  centre: string
  band: string
}

export interface Query {
  key: string
  x: XAxis
  buckets: number
  range: [number, number] | null
  /** Means too, for smoothing. */
  withMean: boolean
  runIds: readonly string[]
  grouping: Grouping | null
  /** Points that came later to runs that had not ended then are left out; null leaves none out. */
  asOf: number | null
}

/** What there is of a query now. */
export interface Series {
  /** By run id; a run that was asked for and has no points is null. */
  curves: ReadonlyMap<string, Curve | null>
  bands: readonly (BandCurve | null)[] | null
  error: Error | null
}

interface CurveSet extends Series {
  query: Omit<Query, "runIds">
  curves: Map<string, Curve | null>
  bands: (BandCurve | null)[] | null
  error: Error | null
  level: number | null
  /** Runs that are being asked for. */
  pending: Set<string>
  /**
   * Runs of which more may have come than there is, also while they are asked for: what is shown of
   * them is continued. All groups are "", and asked for anew.
   */
  news: Set<string>
  bytes: number
  usedAt: number
  /** When its first answer was asked for, by the browser's clock; null before. */
  loadedMs: number | null
}

interface Watcher {
  query: Query
  set: CurveSet
  onChange: () => void
}

interface Request {
  sets: CurveSet[]
  runIds: string[]
  abort: AbortController
  growth: { from: number[]; have: number[] }[] | null
}

const AXES: Record<string, string> = { rel: "relative", relp: "process" }
const axisName = (x: XAxis): string => AXES[x] ?? x

function nameOf(query: Omit<Query, "runIds">): string {
  const { key, x, buckets, range, withMean, grouping, asOf } = query
  return JSON.stringify([key, x, buckets, range, withMean, grouping, asOf])
}

/** From which step on, and of how many points, curves are known: what the server continues. */
function growthOf(set: CurveSet, runIds: readonly string[]): { from: number[]; have: number[] } {
  const points = runIds.map((id) => growthPoint(set.curves.get(id) as Curve))
  return { from: points.map((p) => p?.from ?? 0), have: points.map((p) => p?.have ?? 0) }
}

export class SeriesStore {
  readonly #sets = new Map<string, CurveSet>()
  readonly #watchers = new Set<Watcher>()
  readonly #requests = new Set<Request>()
  #timer: ReturnType<typeof setTimeout> | null = null
  #later: ReturnType<typeof setTimeout> | null = null
  #clock = 0
  /** Requests and points so far, for tests and the status line. */
  readonly counts = { requests: 0, points: 0, bytes: 0 }

  /** Ask for a query, and be told whenever there is more of it; returns how to stop. */
  watch(query: Query, onChange: () => void): { series: Series; stop: () => void } {
    const set = this.#set(query)
    const watcher: Watcher = { query, set, onChange }
    this.#watchers.add(watcher)
    this.#schedule()
    return {
      series: set,
      stop: () => {
        this.#watchers.delete(watcher)
        this.#abortUnwanted()
        this.#evict()
      },
    }
  }

  /**
   * Points of these runs may have come: ask for what is new of those that are shown, and for these
   * runs alone of what is shown again later.
   */
  refresh(runIds: readonly string[]): void {
    for (const set of this.#sets.values()) {
      // What is frozen does not grow.
      if (set.query.asOf !== null) continue
      const grown = runIds.filter((id) => set.curves.has(id) || set.pending.has(id))
      if (set.query.grouping !== null) grown.push("")
      for (const id of grown) set.news.add(id)
      // The server answers again.
      if (grown.length > 0) set.error = null
    }
    this.#schedule()
  }

  /**
   * Nobody has listened for news until a moment ago: ask for what may have come since, of runs that
   * had not ended when their series were asked for.
   *
   * @param sinceMs What was asked for later is up to date.
   */
  catchUp(runs: readonly { id: string; endMs: number | null }[], sinceMs: number): void {
    const grown = new Set<string>()
    for (const { query, loadedMs } of this.#sets.values()) {
      if (query.asOf !== null || loadedMs === null || loadedMs >= sinceMs) continue
      for (const { id, endMs } of runs) {
        if (endMs === null || endMs > loadedMs - MAX_CLOCKS_APART_MS) grown.add(id)
      }
    }
    if (grown.size > 0) this.refresh([...grown])
  }

  /** Ask again for what failed. */
  retry(): void {
    for (const set of this.#sets.values()) set.error = null
    this.#schedule()
  }

  /** The server is away: what it did not answer is asked for again, while somebody looks. */
  #askLater(): void {
    this.#later ??= setTimeout(() => {
      this.#later = null
      if (document.hidden) return this.#askLater()
      for (const set of this.#sets.values()) if (isAway(set.error)) set.error = null
      this.#schedule()
    }, AGAIN_MS)
  }

  #canGrow(set: CurveSet, curve: Curve | null): boolean {
    const { x, range, buckets } = set.query
    if (curve === null || range !== null || set.level === null) return false
    if (x !== "step" && x !== "wall" && x !== "rel") return false
    return growthPoint(curve) !== null && curve.x.length < 2 * buckets
  }

  #set(query: Query): CurveSet {
    const { runIds: _, ...rest } = query
    const name = nameOf(rest)
    // What has the means too has all that is asked for.
    let set = this.#sets.get(nameOf({ ...rest, withMean: true })) ?? this.#sets.get(name)
    if (!set) {
      set = {
        query: rest,
        curves: new Map(),
        bands: null,
        error: null,
        level: null,
        pending: new Set(),
        news: new Set(),
        bytes: 0,
        usedAt: 0,
        loadedMs: null,
      }
      this.#sets.set(name, set)
    }
    set.usedAt = ++this.#clock
    return set
  }

  #schedule(): void {
    // The first cards of a page come all at once, and nothing is there to look at meanwhile.
    const wait = this.counts.requests === 0 ? 0 : GATHER_MS
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.#gather()
    }, wait)
  }

  /** What a watcher lacks: runs to be asked for whole, and runs whose curves go on. */
  #missing(watcher: Watcher): { whole: string[]; growing: string[] } {
    const { set, query } = watcher
    const whole: string[] = []
    const growing: string[] = []
    if (set.error !== null) return { whole, growing }
    if (query.grouping !== null) {
      const isWanted = (set.bands === null || set.news.size > 0) && set.pending.size === 0
      return { whole: isWanted ? [...new Set(query.grouping.groups.flat())] : [], growing }
    }
    for (const id of query.runIds) {
      if (set.pending.has(id)) continue
      if (!set.curves.has(id)) whole.push(id)
      else if (set.news.has(id)) {
        if (this.#canGrow(set, set.curves.get(id) ?? null)) growing.push(id)
        else whole.push(id)
      }
    }
    return { whole, growing }
  }

  /** Put what all watchers lack into as few requests as there are different questions. */
  #gather(): void {
    const alike = new Map<string, { sets: Set<CurveSet>; runIds: string[]; isGrowth: boolean }>()
    for (const watcher of this.#watchers) {
      const { x, buckets, range, withMean, grouping, asOf } = watcher.set.query
      const missing = this.#missing(watcher)
      for (const [runIds, isGrowth] of [[missing.whole, false], [missing.growing, true]] as const) {
        if (runIds.length === 0) continue
        const name = JSON.stringify([isGrowth, x, buckets, range, withMean, grouping, asOf, runIds])
        const found = alike.get(name)
        if (found) found.sets.add(watcher.set)
        else alike.set(name, { sets: new Set([watcher.set]), runIds, isGrowth })
      }
    }
    for (const { sets, runIds, isGrowth } of alike.values()) {
      const all = [...sets]
      const { buckets, grouping } = (all[0] as CurveSet).query
      const nRuns = grouping === null ? Math.min(runIds.length, MAX_RUNS) : runIds.length
      const most = Math.min(SERIES_LINES / nRuns, SERIES_BUCKETS / (nRuns * buckets))
      const nParts = Math.max(1, Math.min(MAX_PARTS, Math.floor(most)))
      for (let run = 0; run < runIds.length; run += nRuns) {
        for (let part = 0; part < all.length; part += nParts) {
          const some = all.slice(part, part + nParts)
          const ids = runIds.slice(run, run + nRuns)
          void this.#send(some, ids, isGrowth ? some.map((set) => growthOf(set, ids)) : null)
        }
      }
    }
  }

  async #send(sets: CurveSet[], runIds: string[], growth: Request["growth"]): Promise<void> {
    const abort = new AbortController()
    const request: Request = { sets, runIds, abort, growth }
    this.#requests.add(request)
    for (const set of sets) {
      set.loadedMs ??= Date.now()
      // News that come from here on may be of what the answer leaves out.
      set.news.delete("")
      for (const id of runIds) {
        set.pending.add(id)
        set.news.delete(id)
      }
    }
    const { x, buckets, range, withMean, grouping, asOf } = (sets[0] as CurveSet).query
    const place = new Map(runIds.map((id, at) => [id, at]))
    const body = {
      runs: runIds,
      x: axisName(x),
      buckets,
      range,
      want: withMean ? ["mean", "count"] : ["count"],
      ...(asOf === null ? {} : { at: asOf }),
      parts: sets.map((set, at) => ({
        key: set.query.key,
        ...(set.level === null ? {} : { level: set.level }),
        ...(growth === null ? {} : growth[at]),
      })),
      ...(grouping === null
        ? {}
        : {
            groups: grouping.groups.map((ids) => ids.map((id) => place.get(id))),
            centre: grouping.centre,
            band: grouping.band,
          }),
    }
    this.counts.requests += 1
    let next = 0
    try {
      const onBytes = (n: number): void => {
        this.counts.bytes += n
      }
      for await (const part of askSeries(body, { signal: abort.signal, onBytes })) {
        this.#take(request, next++, part)
      }
    } catch (error) {
      if (!isAbort(error)) {
        for (const set of sets.slice(next)) {
          set.error = error instanceof Error ? error : new Error(String(error))
        }
        if (isAway(error)) this.#askLater()
      }
    }
    this.#requests.delete(request)
    for (const set of sets.slice(next)) {
      // What there is stays as it is, and old.
      for (const id of runIds) if (set.curves.has(id)) set.news.add(id)
      if (set.bands !== null) set.news.add("")
      this.#settle(request, set)
    }
    this.#evict()
    // What failed for being aborted may be wanted again by now.
    this.#schedule()
  }

  #take(request: Request, at: number, part: Part): void {
    const set = request.sets[at]
    if (set === undefined) return
    this.counts.points += part.header.n_points
    if (set.query.grouping !== null) {
      set.bands = set.query.grouping.groups.map((_, group) => part.groups.get(group) ?? null)
    } else {
      set.level ??= part.header.level
      request.runIds.forEach((id, place) => {
        const line = part.lines.get(place)
        const held = set.curves.get(id)
        if (request.growth !== null && held && (!line || !line.isWhole)) {
          if (line) this.#put(set, id, continued(held, line.curve))
        } else {
          this.#put(set, id, line?.curve ?? null)
        }
      })
    }
    this.#settle(request, set)
  }

  #put(set: CurveSet, id: string, curve: Curve | null): void {
    const before = set.curves.get(id)?.x.length ?? 0
    set.curves.set(id, curve)
    set.bytes += BYTES_A_BUCKET * ((curve?.x.length ?? 0) - before)
  }

  #settle(request: Request, set: CurveSet): void {
    for (const id of request.runIds) set.pending.delete(id)
    for (const watcher of [...this.#watchers]) if (watcher.set === set) watcher.onChange()
  }

  #abortUnwanted(): void {
    const wanted = new Set([...this.#watchers].map((watcher) => watcher.set))
    for (const request of this.#requests) {
      if (!request.sets.some((set) => wanted.has(set))) request.abort.abort()
    }
  }

  #evict(): void {
    const wanted = new Set([...this.#watchers].map((watcher) => watcher.set))
    let bytes = 0
    for (const set of this.#sets.values()) bytes += set.bytes
    const oldest = [...this.#sets].sort(([, a], [, b]) => a.usedAt - b.usedAt)
    for (const [name, set] of oldest) {
      if (bytes <= MAX_BYTES) return
      if (wanted.has(set)) continue
      this.#sets.delete(name)
      bytes -= set.bytes
    }
  }
}

export const seriesStore = new SeriesStore()
