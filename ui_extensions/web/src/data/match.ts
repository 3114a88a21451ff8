/** Metrics by a regular expression of somebody's, as it is typed. */

import { useEffect, useState } from "react"

import { matchKeys } from "./match-keys"

export interface Matches {
  /** Null until they are known. */
  keys: readonly string[] | null
  error: Error | null
}

/** The names that a pattern matches; those before stay until the next are known. */
export function useMatches(pattern: string, keys: readonly string[]): Matches {
  const [found, setFound] = useState<Matches>({ keys: null, error: null })
  useEffect(() => {
    if (pattern === "") {
      setFound({ keys: [], error: null })
      return
    }
    let isWanted = true
    matchKeys(pattern, keys).then(
      (matches) => {
        if (isWanted) setFound({ keys: matches, error: null })
      },
      (error: Error) => {
        if (isWanted) setFound((before) => ({ keys: before.keys ?? [], error }))
      },
    )
    return () => {
      isWanted = false
    }
  }, [pattern, keys])
  return found
}
