/** Which line of a run's console was printed at a moment. */

import { call } from "../api/client"
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
