import type { ReactNode } from "react"
import { Fragment, useEffect, useRef } from "react"

import { Icon } from "../controls/icon"
import { PaletteButton } from "../palette/host"
import { setTitle } from "../router"
import { Name } from "../text/name"
import { visible, NAME_LENGTH } from "../text/visible"
import { StockLink } from "./stock-link"
import { ThemeSwitch } from "./theme-switch"

/** Letters that have room everywhere. */
const LONG = 24

/**
 * A page: breadcrumb with the one `h1`, actions on its right, what it is about below.
 *
 * The focus goes to the heading when `id` changes, so that a reader hears where they are.
 */
export function Page({
  id,
  title,
  crumbs = [],
  beside,
  actions,
  isPadded = true,
  children,
}: {
  /** Which page this is: its path without the query. */
  id: string
  title: string
  /** Between "Experiments" and the title. */
  crumbs?: readonly { key: string; content: ReactNode }[]
  /** On the title's line, such as a run's state. */
  beside?: ReactNode
  actions?: ReactNode
  isPadded?: boolean
  children: ReactNode
}) {
  const heading = useRef<HTMLHeadingElement>(null)
  const shown = useRef<string | null>(null)
  useEffect(() => setTitle(visible(title, 80)), [title])
  useEffect(() => {
    if (shown.current !== null && shown.current !== id) heading.current?.focus()
    shown.current = id
  }, [id])
  return (
    <div className="w-page">
      <a className="w-skip" href="#w-main" onClick={skip}>
        Skip to the content
      </a>
      <header className="w-head">
        <nav className="w-crumbs" aria-label="Where you are">
          <ol>
            <li>
              <StockLink to="/experiments">Experiments</StockLink>
            </li>
            {crumbs.map((crumb) => (
              <Fragment key={crumb.key}>
                <li>
                  <Icon name="chevronRight" />
                  <span className="w-cut">{crumb.content}</span>
                </li>
              </Fragment>
            ))}
            <li>
              <Icon name="chevronRight" />
              <h1
                ref={heading}
                tabIndex={-1}
                className="w-cut"
                dir="auto"
                title={visible(title)}
                aria-label={visible(title, NAME_LENGTH)}
              >
                {title.length > LONG ? <Name text={title} title={null} /> : visible(title)}
              </h1>
            </li>
          </ol>
        </nav>
        {beside}
        <div className="w-actions">
          {actions}
          <PaletteButton />
          <ThemeSwitch />
        </div>
      </header>
      <main id="w-main" tabIndex={-1} className={`w-main${isPadded ? " w-main-padded" : ""}`}>
        {children}
      </main>
    </div>
  )
}

function skip(event: React.MouseEvent): void {
  // By hand: the fragment of the URL is not ours to change in a frame.
  event.preventDefault()
  document.getElementById("w-main")?.focus()
}
