import type { ReactNode } from "react"

import { goStock, isFramed, stockLink } from "../router"
import type { LinkRest } from "./link"
import { isPlain } from "./link"

/** A link to one of MLflow's own pages, such as `/experiments/1`. */
export function StockLink({ to, children, ...rest }: LinkRest & { to: string; children: ReactNode }) {
  return (
    <a
      {...rest}
      href={stockLink(to)}
      target={isFramed() ? "_top" : undefined}
      onClick={(event) => {
        if (!isFramed() || !isPlain(event)) return
        event.preventDefault()
        goStock(to)
      }}
    >
      {children}
    </a>
  )
}
