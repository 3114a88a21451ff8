import { useEffect } from "react"

import { isAway } from "./error"

const AGAIN_MS = 5_000

/** Ask again, every few seconds and while somebody looks, as long as the server is away. */
export function useAgain(error: Error | null, again: () => void): void {
  useEffect(() => {
    if (!isAway(error)) return
    const timer = window.setInterval(() => {
      if (!document.hidden) again()
    }, AGAIN_MS)
    return () => window.clearInterval(timer)
  }, [error, again])
}
