/** What is drawn follows what is logged. */

import { useEffect, useRef, useState } from "react"

import { poll } from "../data/poller"
import { seriesStore } from "../data/series-store"
import type { DrawnRun } from "./types"

const KEYS_MS = 15_000
/** What is no series is asked for again at most so often. */
const NEWS_MS = 5_000

/** Ask what is new, and have it read, while the page is seen; returns when something last was. */
export function useLive(
  experimentIds: readonly string[],
  runs: readonly DrawnRun[],
  live: boolean,
  onKeys: () => void,
): number {
  const [newsAt, setNewsAt] = useState(0)
  const watched = useRef({ experimentIds, runs })
  watched.current = { experimentIds, runs }
  const name = experimentIds.join()
  const sinceMs = useRef(0)
  useEffect(() => {
    if (!live) return
    sinceMs.current = Date.now()
    let askedAt = 0
    let timer: ReturnType<typeof setTimeout> | undefined
    const askKeys = (): void => {
      timer = undefined
      askedAt = Date.now()
      onKeys()
    }
    const stop = poll(
      () => ({
        experiments: watched.current.experimentIds,
        runs: watched.current.runs.filter((run) => run.status === "RUNNING").map((run) => run.id).slice(0, 1_000),
      }),
      (news) => {
        if (news.length === 0) return
        seriesStore.refresh(news)
        setNewsAt((before) => (Date.now() - before < NEWS_MS ? before : Date.now()))
        // Counting metrics costs more than a poll, and new ones are seldom; these may be the last
        // news for long, so they are counted after a while at the latest.
        timer ??= setTimeout(askKeys, Math.max(0, askedAt + KEYS_MS - Date.now()))
      },
      () => undefined,
    )
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [live, name, onKeys])
  // What is kept from before may have grown while nobody listened, and be at its end by now.
  const isKnown = runs.length > 0 && !runs.some((run) => run.isPending)
  useEffect(() => {
    if (live && isKnown) seriesStore.catchUp(watched.current.runs, sinceMs.current)
  }, [live, name, isKnown])
  return newsAt
}
