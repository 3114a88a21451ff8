import type { AnchorHTMLAttributes, MouseEvent, ReactNode } from "react"

import type { Place } from "../grammar"
import { go, isFramed, linkTo } from "../router"
import { safeLink } from "../text/visible"

export type LinkRest = Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "href" | "onClick">

/** Say whether a click is to be taken here, and opens nothing elsewhere. */
export function isPlain(event: MouseEvent): boolean {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey
}

/** A link to one of our places: without a reload here, and whole in a new tab. */
export function PlaceLink({
  to,
  query,
  children,
  ...rest
}: LinkRest & { to: Place; query?: URLSearchParams; children: ReactNode }) {
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
