/**
 * Calls of the extension's API. Every call is a POST of JSON, reads too: long lists of ids stay out
 * of URLs and logs. The mount point and the workspace are those of the page itself.
 */

import { API } from "../addresses"
import type { CallOptions } from "./error"
import { ApiError, isAbort } from "./error"
import { ownHeaders } from "./headers"

export type { CallOptions } from "./error"
export { ApiError, isAbort } from "./error"

const AHEAD_MS = 5_000
const ahead = new Map<string, { answer: Promise<unknown>; atMs: number }>()

/** Ask for what will be asked for in a moment: the call that does so gets this answer. */
export function askAhead(path: string, body: unknown): void {
  const question = JSON.stringify([path, body])
  const known = ahead.get(question)
  if (known && Date.now() - known.atMs < AHEAD_MS) return
  ahead.delete(question)
  const answer = call<unknown>(path, body)
  answer.catch(() => undefined) // told to who asks
  ahead.set(question, { answer, atMs: Date.now() })
}

/** Ask for JSON. @throws ApiError where the server refuses, fails or is away. */
export async function call<T>(path: string, body: unknown, options: CallOptions = {}): Promise<T> {
  const question = JSON.stringify([path, body])
  const early = ahead.get(question)
  ahead.delete(question)
  if (early && Date.now() - early.atMs < AHEAD_MS) return early.answer as Promise<T>
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

const listeners = new Set<(error: ApiError) => void>()

/** Be told of every refusal, whoever asked; returns how to stop. */
export function onRefusal(listener: (error: ApiError) => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function post(path: string, body: unknown, options: CallOptions): Promise<Response> {
  return postJson(new URL(path.replace(/^\/+/, ""), API), body, options)
}

/** POST JSON to an address of this server. @throws ApiError where it refuses, fails or is away. */
export function postJson(address: URL, body: unknown, options: CallOptions): Promise<Response> {
  const request = { method: "POST", body: JSON.stringify(body ?? {}) }
  return send(address, request, options, "application/json")
}

/** Send a request to an address of this server. @throws ApiError like `postJson`. */
export async function send(
  address: URL,
  request: RequestInit,
  options: CallOptions,
  contentType: string | null = null,
): Promise<Response> {
  const headers = new Headers(contentType === null ? {} : { "Content-Type": contentType })
  for (const [name, value] of ownHeaders()) headers.set(name, value)
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
  if (answer.ok) return answer
  const error = await refusal(answer)
  for (const listener of [...listeners]) listener(error)
  throw error
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
    429: "that was asked too often; wait a little",
    502: "the server is away",
    503: "the server is busy",
    504: "the server took too long",
  }
  const text = words[answer.status] ?? `the server answers ${answer.status}`
  return new ApiError(answer.status, text)
}
