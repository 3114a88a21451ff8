/**
 * Calls of the extension's API. Every call is a POST of JSON, reads too: long lists of ids stay out
 * of URLs and logs. The mount point and the workspace are those of the page itself.
 */

import { API, STOCK } from "../addresses"
import { workspace } from "../router"

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

/** Ask for JSON. @throws ApiError where the server refuses, fails or is away. */
export async function call<T>(path: string, body: unknown, options: CallOptions = {}): Promise<T> {
  const answer = await post(path, body, options)
  try {
    return (await answer.json()) as T
  } catch (error) {
    if (isAbort(error)) throw error
    throw new ApiError(answer.status, "the server's answer is cut or no JSON")
  }
}

/** Ask for bytes. @throws ApiError like `call`. */
export async function callBinary(
  path: string,
  body: unknown,
  options: CallOptions = {},
): Promise<ArrayBuffer> {
  const answer = await post(path, body, options)
  try {
    return await answer.arrayBuffer()
  } catch (error) {
    if (isAbort(error)) throw error
    throw new ApiError(0, "the server's answer is cut")
  }
}

/** Ask for a file, as an object for `URL.createObjectURL` with the type the server gave it. */
export async function callBlob(
  path: string,
  body: unknown,
  options: CallOptions = {},
): Promise<Blob> {
  const answer = await post(path, body, options)
  try {
    return await answer.blob()
  } catch (error) {
    if (isAbort(error)) throw error
    throw new ApiError(0, "the server's answer is cut")
  }
}

/** Ask for bytes, and give them out as they arrive. @throws ApiError like `call`. */
export async function* callStream(
  path: string,
  body: unknown,
  options: CallOptions = {},
): AsyncGenerator<Uint8Array> {
  const answer = await post(path, body, options)
  const reader = answer.body?.getReader()
  if (!reader) return
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } catch (error) {
    if (isAbort(error)) throw error
    throw new ApiError(0, "the server's answer is cut")
  } finally {
    reader.releaseLock()
  }
}

/** Call MLflow's own REST API, such as `runs/set-tag`: what it does well is not done again. */
export async function callStock<T>(
  path: string,
  body: unknown,
  options: CallOptions = {},
): Promise<T> {
  const answer = await post(new URL(`ajax-api/2.0/mlflow/${path}`, STOCK), body, options)
  return (await answer.json()) as T
}

/** Ask MLflow's own REST API by GET, such as `metrics/get-history?…`. */
export async function callStockGet<T>(path: string, options: CallOptions = {}): Promise<T> {
  const answer = await send(new URL(`ajax-api/2.0/mlflow/${path}`, STOCK), { method: "GET" }, options)
  return (await answer.json()) as T
}

async function post(path: string | URL, body: unknown, options: CallOptions): Promise<Response> {
  const address = typeof path === "string" ? new URL(path.replace(/^\/+/, ""), API) : path
  const request = { method: "POST", body: JSON.stringify(body ?? {}) }
  return send(address, request, options, "application/json")
}

async function send(
  address: URL,
  request: RequestInit,
  options: CallOptions,
  contentType: string | null = null,
): Promise<Response> {
  const headers = new Headers(contentType === null ? {} : { "Content-Type": contentType })
  const named = workspace()
  if (named !== null) headers.set("X-MLFLOW-WORKSPACE", named)
  let answer: Response
  try {
    answer = await fetch(address, {
      ...request,
      headers,
      signal: options.signal ?? null,
      credentials: "same-origin",
      cache: "no-store",
    })
  } catch (error) {
    if (isAbort(error)) throw error
    throw new ApiError(0, "the server does not answer")
  }
  if (!answer.ok) throw await refusal(answer)
  return answer
}

async function refusal(answer: Response): Promise<ApiError> {
  try {
    const said: unknown = JSON.parse(await answer.text())
    if (typeof said === "object" && said !== null) {
      const { error, message } = said as { error?: unknown; message?: unknown }
      const text = typeof error === "string" ? error : message
      if (typeof text === "string") {
        return new ApiError(answer.status, text, said as Record<string, unknown>)
      }
    }
  } catch {
    // A proxy's page, or nothing: the status has to do.
  }
  const words: Record<number, string> = {
    401: "you are not signed in",
    403: "you may not see this",
    404: "there is no such thing, or you may not see it",
    413: "that is more than the server gives at once",
    502: "the server is away",
    503: "the server is busy",
    504: "the server took too long",
  }
  const text = words[answer.status] ?? `the server answers ${answer.status}`
  return new ApiError(answer.status, text)
}
