/** What is common to all ways of asking: options, and how it is told that there is no answer. */

export class ApiError extends Error {
  /** HTTP status; 0 where there was no answer. */
  readonly status: number
  /** What else the server's JSON says, such as where in a filter the fault is. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(status: number, message: string, details: Record<string, unknown> = {}) {
    super(message)
    this.name = "ApiError"
    this.status = status
    this.details = details
  }
}

export interface CallOptions {
  /** Aborting it rejects with the browser's AbortError, which is not a failure. */
  signal?: AbortSignal
}

/** Say whether an error only says that nobody wanted the answer any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError"
}

/** How long after a server was away it is asked again. */
export const AGAIN_MS = 5_000

const AWAY: readonly number[] = [0, 502, 503, 504]

/** Whether the same question may well be answered in a moment: the server, or the way to it, is away. */
export function isAway(error: unknown): boolean {
  return error instanceof ApiError && AWAY.includes(error.status)
}
