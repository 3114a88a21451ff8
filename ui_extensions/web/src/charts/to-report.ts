/** Where a chart's menu leads into a report: the page says how, and which runs are meant. */

import { createContext, useContext } from "react"

import type { CardLayout } from "./types"

export const AddToReport = createContext<((card: CardLayout) => void) | null>(null)

/** Null where there are no reports to add to, as on the page of a link. */
export function useAddToReport(): ((card: CardLayout) => void) | null {
  return useContext(AddToReport)
}
