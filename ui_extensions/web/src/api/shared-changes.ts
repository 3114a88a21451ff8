/**
 * `POST changes`, asked once a browser: ten open tabs of a workspace ask what one would.
 *
 * Before it asks, a tab looks what the others have heard a moment ago or are just asking, and takes
 * that where it answers its own question. Nobody has to be elected, nor replaced when a tab sleeps or
 * closes: whoever's turn comes first asks. (Web Locks, which could elect one, are not there on the
 * plain `http://` that most tracking servers are reached by; a BroadcastChannel is.) Two tabs that ask
 * in the same instant both ask, which costs a request and nothing else.
 */

import { API } from "../addresses"
import { workspace } from "../router"
import { call } from "./client"

export interface ChangesQuestion {
  readonly experiments: readonly string[]
  readonly runs: readonly string[]
  /** The watermark of an answer before; null at first. */
  readonly since: string | null
}

interface Watermarked {
  readonly watermark: string
}

export type ChangesMessage =
  | { readonly kind: "asking"; readonly id: string; readonly question: ChangesQuestion }
  | {
      readonly kind: "answered"
      readonly id: string
      readonly question: ChangesQuestion
      readonly answer: Watermarked
    }
  | { readonly kind: "failed"; readonly id: string }

/** How tabs hear of one another. */
export interface Channel {
  readonly post: (message: ChangesMessage) => void
  readonly listen: (heard: (message: ChangesMessage) => void) => void
}

// Shorter than the shortest pause between two polls, so that nobody hears its own answer again.
const FRESH_MS = 1_900
// A tab that closed while it asked never says so.
const PATIENCE_MS = 10_000
const MOST_HELD = 20

interface Held {
  readonly question: ChangesQuestion
  readonly atMs: number
  readonly answer: Promise<Watermarked | null>
  /** Where it is still being asked. */
  readonly settle: ((answer: Watermarked | null) => void) | null
}

/** One tab's side. */
export class SharedChanges {
  readonly #channel: Channel | null
  readonly #ask: (question: ChangesQuestion, signal?: AbortSignal) => Promise<Watermarked>
  readonly #now: () => number
  readonly #held = new Map<string, Held>()

  constructor(
    channel: Channel | null,
    ask: (question: ChangesQuestion, signal?: AbortSignal) => Promise<Watermarked>,
    now: () => number,
  ) {
    this.#channel = channel
    this.#ask = ask
    this.#now = now
    channel?.listen((message) => this.#hear(message))
  }

  /** Ask, or take what another tab, or another part of this one, has heard. Rejects as `call` does. */
  async ask(question: ChangesQuestion, signal?: AbortSignal): Promise<Watermarked> {
    const found = [...this.#held.values()]
      .reverse()
      .find((held) => covers(held.question, question) && this.#isOfUse(held))
    const answer = found ? await within(found.answer, PATIENCE_MS, signal) : null
    return answer ?? this.#askServer(question, signal)
  }

  async #askServer(question: ChangesQuestion, signal?: AbortSignal): Promise<Watermarked> {
    const id = newId()
    this.#begin(id, question)
    this.#channel?.post({ kind: "asking", id, question })
    try {
      const answer = await this.#ask(question, signal)
      this.#end(id, question, answer)
      this.#channel?.post({ kind: "answered", id, question, answer })
      return answer
    } catch (error) {
      this.#fail(id)
      this.#channel?.post({ kind: "failed", id })
      throw error
    }
  }

  #isOfUse(held: Held): boolean {
    const ageMs = this.#now() - held.atMs
    return ageMs >= 0 && ageMs < (held.settle === null ? FRESH_MS : PATIENCE_MS)
  }

  #begin(id: string, question: ChangesQuestion): void {
    let settle: Held["settle"] = null
    const answer = new Promise<Watermarked | null>((resolve) => {
      settle = resolve
    })
    this.#keep(id, { question, atMs: this.#now(), answer, settle })
  }

  #end(id: string, question: ChangesQuestion, answer: Watermarked): void {
    const pending = this.#held.get(id)
    this.#held.delete(id)
    this.#keep(id, { question, atMs: this.#now(), answer: Promise.resolve(answer), settle: null })
    pending?.settle?.(answer)
  }

  #fail(id: string): void {
    const pending = this.#held.get(id)
    this.#held.delete(id)
    pending?.settle?.(null)
  }

  #keep(id: string, held: Held): void {
    this.#held.set(id, held)
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= MOST_HELD) break
      this.#held.delete(oldest)
    }
  }

  #hear(message: ChangesMessage): void {
    if (message.kind === "asking") this.#begin(message.id, message.question)
    else if (message.kind === "answered") this.#end(message.id, message.question, message.answer)
    else this.#fail(message.id)
  }
}

/** Say whether the answer to one question has all that is asked by another. */
export function covers(asked: ChangesQuestion, wanted: ChangesQuestion): boolean {
  if (asked.experiments.join() !== wanted.experiments.join()) return false
  const named = new Set(asked.runs)
  if (!wanted.runs.every((id) => named.has(id))) return false
  if (wanted.since === null) return true
  if (asked.since === null) return false
  const [batch = 0, chunk = 0] = wanted.since.split(".").map(Number)
  const [itsBatch = 0, itsChunk = 0] = asked.since.split(".").map(Number)
  return itsBatch <= batch && itsChunk <= chunk
}

/** Wait for an answer, at most so long; null where none comes. Rejects where the signal aborts. */
function within<T>(
  answer: Promise<T | null>,
  longestMs: number,
  signal?: AbortSignal,
): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(null), longestMs)
    const onAbort = (): void => {
      clearTimeout(timer)
      reject(new DOMException("nobody wants it any more", "AbortError"))
    }
    if (signal?.aborted) return onAbort()
    signal?.addEventListener("abort", onAbort, { once: true })
    void answer.then((found) => {
      clearTimeout(timer)
      signal?.removeEventListener("abort", onAbort)
      resolve(found)
    })
  })
}

function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8))
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}

function isMessage(data: unknown): data is ChangesMessage {
  if (typeof data !== "object" || data === null) return false
  const { kind, id } = data as { kind?: unknown; id?: unknown }
  return typeof id === "string" && (kind === "asking" || kind === "answered" || kind === "failed")
}

/** The channel of this server's pages in one of MLflow's workspaces. */
function openChannel(): Channel | null {
  if (typeof BroadcastChannel === "undefined") return null
  const channel = new BroadcastChannel(`weir.changes ${API.href} ${workspace() ?? ""}`)
  return {
    post: (message) => channel.postMessage(message),
    listen: (heard) => {
      channel.addEventListener("message", (event: MessageEvent<unknown>) => {
        if (isMessage(event.data)) heard(event.data)
      })
    },
  }
}

let shared: SharedChanges | null = null

/** Ask `POST changes` for this tab. @throws ApiError like `call`. */
export async function askSharedChanges<T>(
  question: ChangesQuestion,
  options: { signal?: AbortSignal } = {},
): Promise<T> {
  shared ??= new SharedChanges(
    openChannel(),
    ({ experiments, runs, since }, signal) =>
      call<Watermarked>(
        "changes",
        { experiments, runs, ...(since === null ? {} : { since }) },
        signal ? { signal } : {},
      ),
    () => Date.now(),
  )
  return (await shared.ask(question, options.signal)) as T
}
