/** When a step of a run was logged, as MLflow's own history has it. */

import { callStockGet } from "../api/stock"

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
