/** Metrics by a regular expression of somebody's, which may take for ever: a worker that is ended. */

import type { MatchAnswer, MatchQuestion } from "./match-worker"

const LIMIT_MS = 1_000

/** Names that match, in order. @throws Error where the pattern cannot be read or takes too long. */
export function matchKeys(pattern: string, keys: readonly string[]): Promise<string[]> {
  return new Promise((done, fail) => {
    const worker = new Worker(new URL("./match-worker.ts", import.meta.url), { type: "module" })
    let timer: ReturnType<typeof setTimeout> | undefined
    const end = (): void => {
      clearTimeout(timer)
      worker.terminate()
    }
    worker.onmessage = (event: MessageEvent<MatchAnswer>) => {
      const said = event.data
      if ("isReady" in said) {
        // The limit is the expression's, not the start's.
        worker.postMessage({ pattern, keys } satisfies MatchQuestion)
        timer = setTimeout(() => {
          end()
          fail(new Error("the expression takes too long"))
        }, LIMIT_MS)
        return
      }
      end()
      if ("matches" in said) done(said.matches)
      else fail(new Error(said.error))
    }
    worker.onerror = () => {
      end()
      fail(new Error("the expression could not be tried"))
    }
  })
}
