/**
 * One answer of the API in a component: asked for when the question changes, cancelled with it, and
 * asked for again while the server is away.
 */

import { useCallback, useEffect, useRef, useState } from "react"

import type { CallOptions } from "./client"
import { call, isAbort } from "./client"
import { useAgain } from "./use-again"

export interface Answer<T> {
  /** The last good answer to this question; stays while it is asked again. */
  data: T | null
  error: Error | null
  isLoading: boolean
  retry: () => void
}

interface Held<T> {
  question: string
  data: T | null
  error: Error | null
  isLoading: boolean
}

/** Ask by POST; `path` null asks nothing. */
export function useAnswer<T>(path: string | null, body: unknown): Answer<T> {
  const question = JSON.stringify([path, body])
  const ask = useCallback((options: CallOptions) => {
    const [to, what] = JSON.parse(question) as [string, unknown]
    return call<T>(to, what, options)
  }, [question])
  return useAsked(path === null ? null : question, ask)
}

/** The same for any way of asking; `question` says when it is another one, null asks nothing. */
export function useAsked<T>(
  question: string | null,
  ask: (options: CallOptions) => Promise<T>,
): Answer<T> {
  const [attempt, setAttempt] = useState(0)
  const [held, setHeld] = useState<Held<T> | null>(null)
  const latest = useRef(ask)
  latest.current = ask
  // Asked again by itself: what went wrong stays on the page until it went well.
  const isByItself = useRef(false)
  useEffect(() => {
    if (question === null) return
    const abort = new AbortController()
    const keepsError = isByItself.current
    isByItself.current = false
    setHeld((before) => ({
      question,
      data: before?.question === question ? before.data : null,
      error: keepsError && before?.question === question ? before.error : null,
      isLoading: true,
    }))
    latest.current({ signal: abort.signal }).then(
      (data) => {
        if (!abort.signal.aborted) setHeld({ question, data, error: null, isLoading: false })
      },
      (error: unknown) => {
        if (abort.signal.aborted || isAbort(error)) return
        const told = error instanceof Error ? error : new Error(String(error))
        setHeld((before) => ({
          question,
          data: before?.question === question ? before.data : null,
          error: told,
          isLoading: false,
        }))
      },
    )
    return () => abort.abort()
  }, [question, attempt])
  const retry = useCallback(() => setAttempt((n) => n + 1), [])
  const again = useCallback(() => {
    isByItself.current = true
    setAttempt((n) => n + 1)
  }, [])
  useAgain(question !== null && held?.question === question ? held.error : null, again)
  const isHeld = held !== null && held.question === question
  return {
    data: isHeld ? held.data : null,
    error: isHeld ? held.error : null,
    isLoading: question !== null && (!isHeld || held.isLoading),
    retry,
  }
}
