/** Asks every few seconds what is new: often while something is running, seldom when it is quiet. */

import { askSharedChanges } from "../api/shared-changes"

export interface Changes {
  watermark: string
  runs: Record<string, string>
  statuses: Record<string, [string, number | null]>
  at_ms: number
  n_runs?: number
  n_running?: number
  last_start_ms?: number
  last_end_ms?: number
}

export interface PollState {
  /** When the last answer came, by the browser's clock; null before the first. */
  answeredAt: number | null
  error: Error | null
}

const FASTEST_MS = 2_000
const SLOWEST_MS = 30_000

/**
 * Poll until stopped. A hidden page asks nothing and catches up when it is seen again.
 *
 * @param question Whom it is about: evaluated for each poll.
 * @param onNews Runs that have, or may have, new points; and all that was told.
 */
export function poll(
  question: () => { experiments: readonly string[]; runs: readonly string[] },
  onNews: (runIds: string[], changes: Changes) => void,
  onState: (state: PollState) => void,
): () => void {
  const versions = new Map<string, string>()
  const abort = new AbortController()
  let watermark: string | null = null
  let standing = ""
  let wait = FASTEST_MS
  let timer: ReturnType<typeof setTimeout> | null = null
  let answeredAt: number | null = null
  let isAsking = false

  const ask = async (): Promise<void> => {
    timer = null
    if (document.hidden || isAsking) return
    isAsking = true
    try {
      const { experiments, runs } = question()
      if (experiments.length > 0 || runs.length > 0) {
        const asked = { experiments, runs, since: watermark }
        const found = await askSharedChanges<Changes>(asked, { signal: abort.signal })
        const news: string[] = []
        for (const [id, version] of Object.entries(found.runs)) {
          // The first answer tells where each run stood when its series were asked for.
          if (watermark !== null && versions.get(id) !== version) news.push(id)
          versions.set(id, version)
        }
        const { n_runs, n_running, last_start_ms, last_end_ms } = found
        const now = JSON.stringify([n_runs, n_running, last_start_ms, last_end_ms, found.statuses])
        const isNews = news.length > 0 || now !== standing
        standing = now
        const isRunning = (n_running ?? 0) > 0 ||
          Object.values(found.statuses).some(([status]) => status === "RUNNING")
        wait = isNews || isRunning ? FASTEST_MS : Math.min(SLOWEST_MS, wait * 1.5)
        watermark = found.watermark
        answeredAt = Date.now()
        onState({ answeredAt, error: null })
        if (isNews) onNews(news, found)
      }
    } catch (error) {
      if (abort.signal.aborted) return
      wait = Math.min(SLOWEST_MS, wait * 1.5)
      onState({ answeredAt, error: error instanceof Error ? error : new Error(String(error)) })
    } finally {
      isAsking = false
    }
    if (!abort.signal.aborted) timer = setTimeout(() => void ask(), wait)
  }
  const onVisible = (): void => {
    if (document.hidden) return
    wait = FASTEST_MS
    if (timer !== null) clearTimeout(timer)
    void ask()
  }
  document.addEventListener("visibilitychange", onVisible)
  void ask()
  return () => {
    abort.abort()
    if (timer !== null) clearTimeout(timer)
    document.removeEventListener("visibilitychange", onVisible)
  }
}
