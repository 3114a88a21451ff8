/** A moment of a run: which line of its console was printed then, and when a step was logged. */

import { call, callStockGet } from "../api/client"
import type { ConsoleAnswer } from "./console-lines"

const LOOK_LINES = 50

/**
 * Find the last line that was printed up to a time, else the first there is.
 *
 * Some twenty questions find it among a million lines, which are never fetched.
 *
 * @param total How many lines there are, at least one.
 */
export async function lineAt(
  runId: string,
  source: string | null,
  total: number,
  atMs: number,
  signal?: AbortSignal,
): Promise<number> {
  let low = 0
  let high = total - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    const n = Math.min(LOOK_LINES, high - middle + 1)
    const { lines } = await call<ConsoleAnswer>(
      "console",
      { run_id: runId, ...(source && { source }), first: middle, n },
      signal ? { signal } : {},
    )
    const [first] = lines
    // Where lines of the middle were not kept, what is before them decides.
    if (first === undefined || first.at_ms > atMs) {
      high = middle - 1
      continue
    }
    const last = [...lines].reverse().find((line) => line.at_ms <= atMs) ?? first
    low = last.n
    if (last.n < (lines.at(-1)?.n ?? last.n)) return last.n
  }
  return low
}

interface BulkAnswer {
  metrics?: { timestamp: number | string; step: number | string }[]
}

/** When a step of a metric was logged, or the nearest one, in ms; null where nothing was. */
export async function timeOfStep(
  runId: string,
  key: string,
  step: number,
  signal?: AbortSignal,
): Promise<number | null> {
  const from = String(Math.floor(step))
  const query = new URLSearchParams({
    run_ids: runId,
    metric_key: key,
    start_step: from,
    end_step: from,
    max_results: "10",
  })
  const ask = (which: URLSearchParams): Promise<BulkAnswer> =>
    callStockGet<BulkAnswer>(`metrics/get-history-bulk-interval?${which}`, signal ? { signal } : {})
  let points = (await ask(query)).metrics ?? []
  if (points.length === 0) {
    query.delete("start_step")
    query.delete("end_step")
    query.set("max_results", "1000")
    points = (await ask(query)).metrics ?? []
  }
  const nearest = points.reduce<(typeof points)[number] | null>((best, one) => {
    if (best === null) return one
    return Math.abs(Number(one.step) - step) < Math.abs(Number(best.step) - step) ? one : best
  }, null)
  return nearest === null ? null : Number(nearest.timestamp)
}
