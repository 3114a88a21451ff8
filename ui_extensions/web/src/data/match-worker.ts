/** Finds the metrics whose name a regular expression has in it, where it can be ended. */

export interface MatchQuestion {
  pattern: string
  keys: readonly string[]
}

export type MatchAnswer = { isReady: true } | { matches: string[] } | { error: string }

const answer = (said: MatchAnswer): void => postMessage(said)

onmessage = (event: MessageEvent<MatchQuestion>): void => {
  const { pattern, keys } = event.data
  try {
    const wanted = new RegExp(pattern, "u")
    answer({ matches: keys.filter((key) => wanted.test(key)) })
  } catch (error) {
    answer({ error: error instanceof Error ? error.message : String(error) })
  }
}
answer({ isReady: true })
