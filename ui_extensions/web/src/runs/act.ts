/** What changes runs, as `POST runs/act` and `runs/move` have it. */

import { call } from "../api/client"

export interface Done {
  readonly done: readonly string[]
  readonly failed: readonly { readonly id: string; readonly status: number; readonly error: string }[]
}

export type RunAction = "tag" | "untag" | "delete" | "restore" | "rename" | "move"

export interface ActionDetails {
  key?: string
  value?: string
  /** Where runs are moved to. */
  experiment_id?: string
}

const SLICE = 100

/** Do something to many runs, a slice after the other; MLflow's permissions hold for each. */
export async function actOnRuns(
  runIds: readonly string[],
  action: RunAction,
  more: ActionDetails = {},
  onProgress: (nDone: number) => void = () => undefined,
): Promise<Done> {
  const done: string[] = []
  const failed: Done["failed"][number][] = []
  for (let start = 0; start < runIds.length; start += SLICE) {
    const slice = runIds.slice(start, start + SLICE)
    const [path, deed] = action === "move" ? ["runs/move", {}] : ["runs/act", { action }]
    const answer = await call<Done>(path, { run_ids: slice, ...deed, ...more })
    done.push(...answer.done)
    failed.push(...answer.failed)
    onProgress(done.length + failed.length)
  }
  return { done, failed }
}
