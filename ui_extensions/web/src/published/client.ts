/**
 * Answers what the parts of the page ask, in place of `api/client.ts`: of what was published, as the
 * server answered it then. What was not published is not there to be asked for.
 */

import type { CallOptions } from "../api/error"
import { ApiError } from "../api/error"
import { ANSWERS, fileOf, pictureOf } from "./answers"

export type { CallOptions } from "../api/error"
export { ApiError, isAbort } from "../api/error"

/** Of no use where an answer is read from a file. */
export function askAhead(): void {}

/** Nothing here is ever refused that was not before. */
export function onRefusal(): () => void {
  return () => undefined
}

/** Ask for JSON. @throws ApiError where it was not published. */
export async function call<T>(path: string, body: unknown, options: CallOptions = {}): Promise<T> {
  const answer = ANSWERS[path]
  if (answer === undefined) throw new ApiError(404, "this page has no such thing")
  return wanted((await answer((body ?? {}) as Record<string, unknown>)) as T, options)
}

/** Ask for a file. @throws ApiError like `call`. */
export async function callBlob(
  path: string,
  body: unknown,
  options: CallOptions = {},
): Promise<Blob> {
  if (path === "reports/image") return wanted(await pictureOf((body ?? {}) as Record<string, unknown>), options)
  if (path !== "file") throw new ApiError(404, "this page has no such thing")
  return wanted(await fileOf((body ?? {}) as Record<string, unknown>), options)
}

function wanted<T>(found: T, { signal }: CallOptions): T {
  if (signal?.aborted) throw new DOMException("nobody wants it any more", "AbortError")
  return found
}
