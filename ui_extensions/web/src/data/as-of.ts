/** The moment that a page is frozen at, by the server's clock in ms; null where it is live. */

import { createContext, useContext } from "react"

export const AsOf = createContext<number | null>(null)

export function useAsOf(): number | null {
  return useContext(AsOf)
}
