/**
 * The runs of a workspace: all ids in order, rows of those that are looked at, and the up to 1,000
 * that are drawn; asked again while something runs.
 */

import { useCallback, useEffect, useMemo, useRef, useState } from "react"

import { ApiError, isAbort } from "../api/client"
import { useAgain } from "../api/use-again"
import type { ViewDocument } from "../view/document"
import type { Cell, RunRow, Tree } from "./api"
import { askRuns, readRows, RunIds } from "./api"
import type { Known } from "./changes"
import { askChanges, NOTHING_KNOWN, runsWithNews, standingText } from "./changes"
import { MAX_DRAWN } from "./eye"

const FIRST_ROWS = 200
const TYPING_MS = 150
const SHORTEST_POLL_MS = 2_000
const LONGEST_POLL_MS = 30_000
const MAX_ROWS_HELD = 20_000

export interface FilterFault {
  readonly message: string
  readonly position: number | null
  readonly length: number
}

export interface RunList {
  readonly ids: RunIds
  /** Grows with each list that somebody asked for; what came by itself leaves it. */
  readonly asked: number
  readonly total: number
  readonly tree: Tree | null
  /** The filter that was asked with, which `tree` is of; null before the first answer. */
  readonly filter: string | null
  /** The server's clock minus the browser's, in ms. */
  readonly clockMs: number
  readonly isLoading: boolean
  /** The first answer has not come yet. */
  readonly isFirst: boolean
  readonly error: Error | null
  /** What is wrong with the filter or the search; the list is the last good one. */
  readonly fault: FilterFault | null
  readonly row: (id: string) => RunRow | undefined
  readonly cell: (id: string, column: string) => Cell | undefined
  /** Fetch rows with all columns, as far as they are not there. */
  readonly wantIds: (ids: readonly string[]) => void
  /** The first up to 1,000, as far as their rows are known. */
  readonly first: readonly RunRow[]
  readonly refresh: () => void
  /** Change what is known of a run, until the server says it too. */
  readonly amend: (id: string, change: Partial<RunRow>) => void
  readonly live: LiveState
}

export interface LiveState {
  readonly isOn: boolean
  readonly setOn: (isOn: boolean) => void
  /** When the server last answered, or what moment the list is frozen at; null before. */
  readonly atMs: number | null
  readonly isFailing: boolean
  readonly isRunning: boolean
}

/** A list that stays as of a moment: runs that began later are not in it, and it asks no more. */
export interface Frozen {
  /** By the server's clock; null where the list is live. */
  readonly atMs: number | null
  readonly set: (atMs: number | null) => void
}

const NO_COLUMNS: readonly string[] = []
const NOT_FROZEN: Frozen = { atMs: null, set: () => undefined }

interface Listed {
  readonly ids: RunIds
  readonly asked: number
  readonly digest: string
  readonly total: number
  readonly tree: Tree | null
  readonly filter: string | null
  /** How the experiments stood just before the list was read; "" before the first. */
  readonly standing: string
}

interface HeldRow {
  readonly row: RunRow
  readonly cells: ReadonlyMap<string, Cell>
  /** Something of it has changed since. */
  readonly isStale: boolean
}

const NOTHING: Listed = { ids: RunIds.NONE, asked: 0, digest: "", total: 0, tree: null, filter: null, standing: "" }
const CRASHED = "status in ('FAILED', 'KILLED')"

/**
 * The filter that is asked for: the view's, and what its switches add.
 *
 * @param frozenAt Runs that began later are left out; null leaves none out.
 */
export function effectiveFilter(
  doc: Pick<ViewDocument, "filter" | "hidesCrashed">,
  frozenAt: number | null,
): string {
  const more = [
    ...(doc.hidesCrashed ? [`not ${CRASHED}`] : []),
    ...(frozenAt === null ? [] : [`start_time <= ${frozenAt}`]),
  ]
  if (more.length === 0) return doc.filter
  return [...(doc.filter.trim() ? [`(${doc.filter})`] : []), ...more].join(" and ")
}

/**
 * @param columns Of the rows that are looked at.
 * @param drawnColumns Of all that are drawn, looked at or not.
 */
export function useRunList(
  experimentIds: readonly string[],
  doc: ViewDocument,
  columns: readonly string[],
  drawnColumns: readonly string[] = NO_COLUMNS,
  frozen: Frozen = NOT_FROZEN,
): RunList {
  // Where a fault of the asked filter lies in the one that was written.
  const shift = doc.hidesCrashed || frozen.atMs !== null ? 1 : 0
  const experiments = experimentIds.join()
  const drawnKey = JSON.stringify(drawnColumns)
  const question = JSON.stringify([
    experiments,
    effectiveFilter(doc, frozen.atMs),
    doc.search,
    doc.isRegex,
    doc.order,
    doc.showsDeleted,
    frozen.atMs,
  ])
  const [listed, setListed] = useState<Listed>(NOTHING)
  const [isFirst, setFirst] = useState(true)
  const [isLoading, setLoading] = useState(true)
  const [error, setError] = useState<Error | null>(null)
  const [fault, setFault] = useState<FilterFault | null>(null)
  const [clockMs, setClockMs] = useState(0)
  const [version, setVersion] = useState(0)
  const [refreshed, setRefreshed] = useState(0)
  const isLive = frozen.atMs === null
  const [atMs, setAtMs] = useState<number | null>(null)
  const [isFailing, setFailing] = useState(false)
  const rows = useRef(new Map<string, HeldRow>())
  const pending = useRef(new Set<string>())
  const latest = useRef(listed)
  latest.current = listed
  const now = useRef({ columns, experiments, deleted: doc.showsDeleted, at: frozen.atMs })
  now.current = { columns, experiments, deleted: doc.showsDeleted, at: frozen.atMs }
  const isAsked = useRef(false)
  // What was heard last stays when the poller starts anew, or what came between would be lost.
  const known = useRef<{ of: string; known: Known } | null>(null)

  const keep = useCallback((found: readonly RunRow[], names: readonly string[]): void => {
    const held = rows.current
    if (held.size > MAX_ROWS_HELD) held.clear()
    for (const row of found) {
      const cells = new Map(held.get(row.id)?.cells)
      names.forEach((name, at) => cells.set(name, row.cells[at] ?? null))
      held.set(row.id, { row, cells, isStale: false })
    }
    setVersion((n) => n + 1)
  }, [])

  // The list itself.
  const ask = useCallback(
    async (signal: AbortSignal, isQuiet: boolean): Promise<boolean> => {
      const [, filter, search, regex, order, deleted, at] = JSON.parse(question) as [
        string, string, string, boolean, string[], boolean, number | null,
      ]
      // Other columns are no other list: the rows that are looked at ask for them.
      const names = now.current.columns
      if (!isQuiet) setLoading(true)
      try {
        const answer = await askRuns(
          {
            experiments: experiments.split(","),
            filter,
            search,
            regex,
            order,
            columns: names,
            deleted,
            limit: FIRST_ROWS,
            at,
            ids: true,
            known: latest.current.digest || null,
          },
          { signal },
        )
        if (signal.aborted) return false
        keep(answer.rows, names)
        setClockMs(answer.now - Date.now())
        setListed((before) => ({
          ids: answer.ids === null ? before.ids : RunIds.decode(answer.ids),
          asked: before.asked + (isQuiet ? 0 : 1),
          digest: answer.digest,
          total: answer.total,
          tree: answer.filter.tree,
          filter,
          standing: standingText(answer.standing),
        }))
        setError(null)
        setFault(null)
        setFailing(false)
        setAtMs(Date.now())
        setFirst(false)
        return true
      } catch (failure) {
        if (signal.aborted || isAbort(failure)) return false
        if (failure instanceof ApiError && failure.status === 400) {
          const { position, length } = failure.details
          setFault({
            message: failure.message,
            position: typeof position === "number" ? position - shift : null,
            length: typeof length === "number" ? length : 1,
          })
          setFirst(false)
        } else if (isQuiet) {
          setFailing(true)
        } else {
          setError(failure instanceof Error ? failure : new Error(String(failure)))
        }
        return false
      } finally {
        if (!signal.aborted && !isQuiet) setLoading(false)
      }
    },
    // The document is in the question as far as it matters.
    [question, experiments, keep, shift],
  )

  useEffect(() => {
    const abort = new AbortController()
    const wait = isAsked.current ? TYPING_MS : 0
    isAsked.current = true
    const timer = window.setTimeout(() => void ask(abort.signal, false), wait)
    return () => {
      window.clearTimeout(timer)
      abort.abort()
    }
  }, [ask, refreshed])

  // Other experiments, other rows.
  useEffect(() => () => rows.current.clear(), [experiments])
  const fetchIds = useCallback(
    (ids: readonly string[], names: readonly string[] = now.current.columns): void => {
      const { experiments: of, deleted, at } = now.current
      const isKnown = (id: string): boolean => {
        const held = rows.current.get(id)
        return held !== undefined && !held.isStale && names.every((name) => held.cells.has(name))
      }
      const key = `${at} ${names.join("\n")}`
      const wanted = ids.filter((id) => !isKnown(id) && !pending.current.has(`${id}${key}`))
      if (wanted.length === 0) return
      for (const id of wanted) pending.current.add(`${id}${key}`)
      readRows(of.split(","), wanted, names, deleted, at, {})
        .then((found) => {
          if (now.current.at === at) keep(found, names)
        })
        .catch(() => setFailing(true))
        .finally(() => {
          for (const id of wanted) pending.current.delete(`${id}${key}`)
        })
    },
    [keep],
  )

  // What was known is of another moment, and is shown until it is known of this one.
  useEffect(() => {
    const stale = [...rows.current].filter(([, held]) => held.isStale).map(([id]) => id)
    fetchIds(stale.slice(0, MAX_DRAWN))
    return () => {
      for (const [id, held] of rows.current) rows.current.set(id, { ...held, isStale: true })
    }
  }, [frozen.atMs, fetchIds])

  // What is drawn has to have a name and a colour, looked at or not.
  useEffect(() => {
    const names = JSON.parse(drawnKey) as string[]
    const drawn = listed.ids.slice(0, MAX_DRAWN)
    // Stale ones are asked for with all their columns, by who found them to be.
    fetchIds(drawn.filter((id) => rows.current.get(id)?.isStale !== true), names)
  }, [listed.ids, drawnKey, fetchIds])

  const first = useMemo(() => {
    const found: RunRow[] = []
    for (const id of listed.ids.slice(0, MAX_DRAWN)) {
      const held = rows.current.get(id)
      if (held) found.push(held.row)
    }
    return found
    // A new version is new rows.
  }, [listed.ids, version])

  const isRunning = first.some((row) => row.status === "RUNNING")
  useEffect(() => {
    if (!isLive) return
    let timer = 0
    let pauseMs = SHORTEST_POLL_MS
    const abort = new AbortController()
    const poll = async (): Promise<void> => {
      // Before there is a list, nothing of it has changed.
      if (document.visibilityState === "visible" && latest.current.standing !== "") {
        const before = known.current?.of === experiments ? known.current.known : NOTHING_KNOWN
        const changes = await askChanges(experiments.split(","), before, abort.signal)
        if (abort.signal.aborted) return
        setFailing(changes === null)
        let isQuiet = true
        if (changes !== null) {
          setAtMs(Date.now())
          const news = new Set(runsWithNews(before, changes))
          const isList = latest.current.standing !== changes.standing
          isQuiet = news.size === 0 && !isList && !changes.isRunning
          // The first poll cannot tell what grew just before the list was read from what did since.
          const isOld = !isList && (news.size === 0 || before === NOTHING_KNOWN)
          if (isList) {
            // Who ended is not told, and the answer below has the rows of the list's top only.
            for (const [id, held] of rows.current) if (held.row.status === "RUNNING") news.add(id)
          }
          const seen = [...news].filter((id) => rows.current.has(id))
          for (const id of seen) {
            const held = rows.current.get(id)
            if (held) rows.current.set(id, { ...held, isStale: true })
          }
          if (isOld || (await ask(abort.signal, true))) {
            known.current = { of: experiments, known: changes.known }
            fetchIds(seen)
          }
        }
        pauseMs = isQuiet ? Math.min(pauseMs * 1.5, LONGEST_POLL_MS) : SHORTEST_POLL_MS
      }
      if (!abort.signal.aborted) timer = window.setTimeout(() => void poll(), pauseMs)
    }
    timer = window.setTimeout(() => void poll(), pauseMs)
    const onShow = (): void => {
      if (document.visibilityState !== "visible") return
      window.clearTimeout(timer)
      timer = window.setTimeout(() => void poll(), 0)
    }
    document.addEventListener("visibilitychange", onShow)
    return () => {
      abort.abort()
      window.clearTimeout(timer)
      document.removeEventListener("visibilitychange", onShow)
    }
  }, [ask, experiments, isLive, fetchIds])

  const wantIds = useCallback((ids: readonly string[]) => fetchIds(ids), [fetchIds])
  const refresh = useCallback(() => setRefreshed((n) => n + 1), [])
  useAgain(error, refresh)
  const amend = useCallback((id: string, change: Partial<RunRow>) => {
    const held = rows.current.get(id)
    if (!held) return
    rows.current.set(id, { ...held, row: { ...held.row, ...change } })
    setVersion((n) => n + 1)
  }, [])
  const live = useMemo(
    () => ({
      isOn: isLive,
      setOn: (isOn: boolean) => frozen.set(isOn ? null : Date.now() + clockMs),
      atMs: frozen.atMs ?? atMs,
      isFailing,
      isRunning,
    }),
    [isLive, frozen, clockMs, atMs, isFailing, isRunning],
  )
  return useMemo(
    () => ({
      ids: listed.ids,
      asked: listed.asked,
      total: listed.total,
      tree: listed.tree,
      filter: listed.filter,
      clockMs,
      isLoading,
      isFirst,
      error,
      fault,
      row: (id) => rows.current.get(id)?.row,
      cell: (id, column) => rows.current.get(id)?.cells.get(column),
      wantIds,
      first,
      refresh,
      amend,
      live,
    }),
    // Rows are looked up: with each version of them the list is another one.
    [version, listed, clockMs, isLoading, isFirst, error, fault, wantIds, first, refresh, amend, live],
  )
}
