/** Calls of MLflow's own REST API, such as `runs/set-tag`: what it does well is not done again. */

import { STOCK } from "../addresses"
import type { CallOptions } from "./client"
import { postJson, send } from "./client"

export async function callStock<T>(
  path: string,
  body: unknown,
  options: CallOptions = {},
): Promise<T> {
  const answer = await postJson(new URL(`ajax-api/2.0/mlflow/${path}`, STOCK), body, options)
  return (await answer.json()) as T
}

/** Ask by GET, such as `metrics/get-history?…`. */
export async function callStockGet<T>(path: string, options: CallOptions = {}): Promise<T> {
  const answer = await send(new URL(`ajax-api/2.0/mlflow/${path}`, STOCK), { method: "GET" }, options)
  return (await answer.json()) as T
}
