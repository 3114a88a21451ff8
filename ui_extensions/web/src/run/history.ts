/** Histories of one run's metrics, as MLflow's own chart call gives them: few points, no spike lost. */

import { callStockGet } from "../api/client"

export interface History {
  step: Float64Array
  timeMs: Float64Array
  value: Float64Array
}

interface BulkAnswer {
  metrics?: { key: string; value: number | string; timestamp: number | string; step: number | string }[]
}

const POINTS = 600

/** Read one metric's history, thinned by the server to about 600 points with the extremes kept. */
export async function readHistory(
  runId: string,
  key: string,
  options: { signal?: AbortSignal },
): Promise<History> {
  const query = new URLSearchParams({
    run_ids: runId,
    metric_key: key,
    max_results: String(POINTS),
  })
  const answer = await callStockGet<BulkAnswer>(
    `metrics/get-history-bulk-interval?${query}`,
    options,
  )
  const points = answer.metrics ?? []
  const order = points
    .map((point, at) => [Number(point.timestamp), at] as const)
    .sort((a, b) => a[0] - b[0] || a[1] - b[1])
  const history: History = {
    step: new Float64Array(points.length),
    timeMs: new Float64Array(points.length),
    value: new Float64Array(points.length),
  }
  order.forEach(([timeMs, from], to) => {
    const point = points[from]
    history.timeMs[to] = timeMs
    history.step[to] = Number(point?.step ?? 0)
    history.value[to] = Number(point?.value ?? Number.NaN)
  })
  return history
}
