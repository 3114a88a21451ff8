import type { AnchorHTMLAttributes, MouseEvent, ReactNode } from "react"

import type { Place } from "../grammar"
import { go, goStock, isFramed, linkTo, stockLink } from "../router"
import { safeLink } from "../text/visible"

type Rest = Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "href" | "onClick">

function isPlain(event: MouseEvent): boolean {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey
}

/** A link to one of our places: without a reload here, and whole in a new tab. */
export function PlaceLink({
  to,
  query,
  children,
  ...rest
}: Rest & { to: Place; query?: URLSearchParams; children: ReactNode }) {
  return (
    <a
      {...rest}
      href={linkTo(to, query)}
      target={isFramed() ? "_top" : undefined}
      onClick={(event) => {
        if (!isPlain(event)) return
        event.preventDefault()
        go(to, query)
      }}
    >
      {children}
    </a>
  )
}

/** A link to one of MLflow's own pages, such as `/experiments/1`. */
export function StockLink({ to, children, ...rest }: Rest & { to: string; children: ReactNode }) {
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

/** A link somebody wrote: only where it is http, https or mailto; else its text. */
export function ForeignLink({ to, children }: { to: string; children: ReactNode }) {
  const address = safeLink(to)
  if (address === null) return <>{children}</>
  return (
    <a href={address} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  )
}
