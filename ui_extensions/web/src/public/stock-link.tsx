import type { ReactNode } from "react"

/** In place of `layout/stock-link.tsx`: a visitor's page leads nowhere into the server. */
export function StockLink(_: { to: string; children: ReactNode }) {
  return null
}
