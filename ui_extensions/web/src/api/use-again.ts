import { useEffect } from "react"

import { AGAIN_MS, isAway } from "./error"

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
