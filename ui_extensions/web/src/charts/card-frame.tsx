/** What is around a card that is no line chart: its title, its menu, what is said below it. */

import type { ReactNode } from "react"

import { IconButton } from "../controls/button"
import type { MenuItem } from "../controls/menu"
import { Menu } from "../controls/menu"
import { Name } from "../text/name"
import { NAME_LENGTH, visible } from "../text/visible"

/** What the grid gives every card. */
export interface CardPlaceProps {
  width: number
  height: number
  items: readonly MenuItem[]
  grip?: ReactNode
  onExpand?: () => void
}

export function CardFrame({
  kind,
  title,
  name = title,
  about,
  head,
  foot,
  width,
  height,
  items,
  grip,
  onExpand,
  children,
}: CardPlaceProps & {
  /** Of which kind the card is, for styles and tests. */
  kind: string
  /** Above what it shows; none where it is undefined. */
  title: string | undefined
  /** What it is called, for readers of the screen. */
  name?: string | undefined
  /** Of the title, where the pointer rests on it. */
  about?: string
  /** Buttons beside the title. */
  head?: ReactNode
  foot?: ReactNode
  children: ReactNode
}) {
  const called = visible(name ?? "", NAME_LENGTH)
  return (
    <article className="w-card" aria-label={called} style={{ width, height }} data-kind={kind}>
      <header className="w-card-head">
        {grip}
        {title ? <h3><Name text={title} title={about} /></h3> : <span className="w-grid-space" />}
        {head}
        {onExpand && <IconButton icon="expand" label={`Full screen: ${called}`} isSmall onClick={onExpand} />}
        <Menu
          label={`Menu of ${called}`}
          button={{ icon: "more", isSmall: true, kind: "quiet", "aria-label": `Menu of ${called}` }}
          items={items}
        />
      </header>
      {children}
      {foot && <footer className="w-card-foot w-card-choices">{foot}</footer>}
    </article>
  )
}
