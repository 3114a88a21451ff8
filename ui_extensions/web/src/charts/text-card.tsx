/** Markdown among the charts: what a section is for, what was found. */

import type { ReactNode } from "react"
import { Suspense } from "react"

import { IconButton } from "../controls/button"
import { later } from "../controls/later"
import type { MenuItem } from "../controls/menu"
import { Menu } from "../controls/menu"
import { Loading } from "../controls/state"
import { NAME_LENGTH, visible } from "../text/visible"

const Markdown = later(async () => (await import("../text/markdown")).Markdown)

export function TextCard({
  text,
  title,
  name,
  width,
  height,
  items,
  grip,
  onExpand,
}: {
  text: string
  /** Above the text, where it has one. */
  title: string | undefined
  /** What the card is called. */
  name: string
  width: number
  height: number
  items: readonly MenuItem[]
  grip?: ReactNode
  onExpand?: () => void
}) {
  const shownName = visible(name, NAME_LENGTH)
  return (
    <article className="w-card" aria-label={shownName} style={{ width, height }} data-text-card="">
      <header className="w-card-head">
        {grip}
        {title ? <h3>{visible(title, NAME_LENGTH)}</h3> : <span className="w-grid-space" />}
        {onExpand && <IconButton icon="expand" label={`Full screen: ${shownName}`} isSmall onClick={onExpand} />}
        <Menu
          label={`Menu of ${shownName}`}
          button={{ icon: "more", isSmall: true, kind: "quiet", "aria-label": `Menu of ${shownName}` }}
          items={items}
        />
      </header>
      <div className="w-text-card" tabIndex={0} role="group" aria-label={`Text: ${shownName}`}>
        <Suspense fallback={<Loading rows={3} />}>
          <Markdown text={text} />
        </Suspense>
      </div>
    </article>
  )
}
