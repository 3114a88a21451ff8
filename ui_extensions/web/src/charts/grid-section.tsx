/** A section of the grid: its cards, which can be moved and sized, mounted as they come near. */

import type { KeyboardEvent, PointerEvent as ReactPointerEvent } from "react"
import { memo, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react"

import { IconButton } from "../controls/button"
import { Icon } from "../controls/icon"
import { count } from "../text/format"
import { Name } from "../text/name"
import { shownName } from "../text/names"
import { visible } from "../text/visible"
import { GridCard } from "./grid-card"
import type { GridCardProps } from "./grid-card"
import type { CardPlace } from "./sections"
import { DEFAULT_HEIGHT, sectionName, titleOf } from "./sections"
import type { CardLayout, SectionLayout } from "./types"

const ROW = 20
const GAP = 8
const NEAR_PX = 200
const PAGE = 60

type ShownCards = Omit<GridCardProps, "prefix" | "card" | "width" | "height" | "grip" | "isFull" | "items">

interface SectionProps extends ShownCards {
  section: SectionLayout
  width: number
  /** The card that is to be there wherever it is: it was just made, or moved here. */
  wanted: string | null
  onChange: (prefix: string, change: (section: SectionLayout) => SectionLayout) => void
  /** A card is put somewhere else. */
  onMove: (prefix: string, id: string, to: CardPlace) => void
  /** A card is moved by one place, maybe into the section beside. */
  onStep: (prefix: string, id: string, isBack: boolean) => void
}

/** Where a card would go that is let go of here: before another one, or to the end of a section. */
function placeAt(x: number, y: number): { element: Element; to: CardPlace } | null {
  const all = document.elementsFromPoint(x, y)
  const section = all.find((one) => one.classList.contains("w-grid-section"))
  const prefix = section?.getAttribute("data-prefix")
  if (!section || prefix === null || prefix === undefined || !section.querySelector(".w-grid-cards")) return null
  const card = all.find((one) => one.classList.contains("w-grid-place"))
  return { element: card ?? section, to: { prefix, before: card?.getAttribute("data-card") ?? null } }
}

export const Section = memo(function Section(props: SectionProps) {
  const { section, width, onChange, onMove: move, onStep } = props
  const { prefix, isOpen, columns, cards } = section
  const [dragged, setDragged] = useState<string | null>(null)
  const [nShown, setShown] = useState(PAGE)
  const cell = (width - GAP * (columns - 1)) / columns
  const name = visible(sectionName(prefix))
  const change = useCallback(
    (id: string, patch: (card: CardLayout) => CardLayout) =>
      onChange(prefix, (own) => ({
        ...own,
        cards: own.cards.map((card) => (card.id === id ? patch(card) : card)),
      })),
    [onChange, prefix],
  )
  const onGrip = (event: ReactPointerEvent, id: string): void => {
    event.preventDefault()
    const grip = event.currentTarget as HTMLElement
    grip.setPointerCapture(event.pointerId)
    setDragged(id)
    let over: ReturnType<typeof placeAt> = null
    // Past React: the place may be another section's.
    const mark = (next: typeof over): void => {
      over?.element.classList.remove("w-grid-target")
      over = next
      if (next && next.to.before !== id) next.element.classList.add("w-grid-target")
    }
    const onMove = (at: PointerEvent): void => mark(placeAt(at.clientX, at.clientY))
    const onUp = (): void => {
      grip.removeEventListener("pointermove", onMove)
      grip.removeEventListener("pointerup", onUp)
      grip.removeEventListener("pointercancel", onUp)
      setDragged(null)
      const { to } = over ?? {}
      mark(null)
      if (to && to.before !== id) move(prefix, id, to)
    }
    grip.addEventListener("pointermove", onMove)
    grip.addEventListener("pointerup", onUp)
    grip.addEventListener("pointercancel", onUp)
  }
  const onCorner = (event: ReactPointerEvent, card: CardLayout): void => {
    event.preventDefault()
    const corner = event.currentTarget as HTMLElement
    corner.setPointerCapture(event.pointerId)
    const { clientX, clientY } = event
    let last = ""
    const onMove = (at: PointerEvent): void => {
      const w = Math.max(1, Math.min(columns, card.w + Math.round((at.clientX - clientX) / (cell + GAP))))
      const h = Math.max(8, Math.min(60, card.h + Math.round((at.clientY - clientY) / ROW)))
      if (`${w} ${h}` === last) return
      last = `${w} ${h}`
      change(card.id, (own) => ({ ...own, w, h }))
    }
    const onUp = (): void => {
      corner.removeEventListener("pointermove", onMove)
      corner.removeEventListener("pointerup", onUp)
    }
    corner.addEventListener("pointermove", onMove)
    corner.addEventListener("pointerup", onUp)
  }
  const onGripKey = (event: KeyboardEvent, card: CardLayout): void => {
    if (!event.altKey || !event.key.startsWith("Arrow")) return
    event.preventDefault()
    const isBack = event.key === "ArrowLeft" || event.key === "ArrowUp"
    if (event.shiftKey) {
      const by = isBack ? -1 : 1
      const isWide = event.key === "ArrowLeft" || event.key === "ArrowRight"
      change(card.id, (own) => ({
        ...own,
        w: isWide ? Math.max(1, Math.min(columns, own.w + by)) : own.w,
        h: isWide ? own.h : Math.max(8, own.h + by),
      }))
      return
    }
    onStep(prefix, card.id, isBack)
  }
  return (
    <section className="w-grid-section" aria-label={`Charts: ${name}`} data-prefix={prefix}>
      <div className="w-grid-head">
        <h2>
          <button
            type="button"
            className="w-grid-fold"
            aria-label={shownName(name, "", "").tail === "" ? undefined : `${name} (${count(cards.length)})`}
            aria-expanded={isOpen}
            onClick={() => onChange(prefix, (own) => ({ ...own, isOpen: !own.isOpen }))}
          >
            <Icon name={isOpen ? "chevronDown" : "chevronRight"} />
            <Name text={name} /> <span className="w-grid-count">({count(cards.length)})</span>
          </button>
        </h2>
        <span className="w-grid-space" />
        {isOpen && (
          <>
            <IconButton
              icon="columns"
              isSmall
              label={`${columns} columns; fewer`}
              disabled={columns <= 1}
              onClick={() => onChange(prefix, (own) => ({ ...own, columns: columns - 1 }))}
            />
            <IconButton
              icon="plus"
              isSmall
              label={`${columns} columns; more`}
              disabled={columns >= 6}
              onClick={() => onChange(prefix, (own) => ({ ...own, columns: columns + 1 }))}
            />
          </>
        )}
      </div>
      {isOpen && (
        <div className="w-grid-cards" style={{ gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
          {cards.slice(0, nShown).map((card) => (
            <Place key={card.id} card={card} columns={columns} isWanted={props.wanted === card.id} isDragged={dragged === card.id}>
              {() => (
                <>
                  <GridCard
                    {...props}
                    prefix={prefix}
                    card={card}
                    width={Math.floor(Math.min(card.w, columns) * cell + GAP * (Math.min(card.w, columns) - 1))}
                    height={(card.h || DEFAULT_HEIGHT) * ROW}
                    grip={
                      <button
                        type="button"
                        className="w-grid-grip"
                        aria-label={`Move ${visible(titleOf(card), 100)}: Alt and arrows; with Shift, its size`}
                        onPointerDown={(event) => onGrip(event, card.id)}
                        onKeyDown={(event) => onGripKey(event, card)}
                      >
                        <Icon name="grip" />
                      </button>
                    }
                  />
                  <span className="w-grid-corner" aria-hidden="true" onPointerDown={(event) => onCorner(event, card)} />
                </>
              )}
            </Place>
          ))}
          {cards.length > nShown && (
            <button type="button" className="w-grid-fold" onClick={() => setShown((n) => n + 10 * PAGE)}>
              {count(cards.length - nShown)} more charts
            </button>
          )}
        </div>
      )}
    </section>
  )
})

/** A card's place: an empty box until it comes near the window. */
function Place({
  card,
  columns,
  isWanted,
  isDragged,
  children,
}: {
  card: CardLayout
  columns: number
  isWanted: boolean
  isDragged: boolean
  children: () => React.ReactNode
}) {
  const box = useRef<HTMLDivElement>(null)
  const [isNear, setNear] = useState(isWanted)
  // What is in sight at first need not wait for the browser to say so, a frame later.
  useLayoutEffect(() => {
    const shown = box.current?.getBoundingClientRect()
    const around = box.current?.closest(".w-charts-scroll")?.getBoundingClientRect()
    if (shown && shown.top < (around?.bottom ?? innerHeight) && shown.bottom > (around?.top ?? 0)) setNear(true)
  }, [])
  useEffect(() => {
    const shown = box.current
    if (!shown) return
    const observer = new IntersectionObserver(
      (entries) => setNear(entries[entries.length - 1]?.isIntersecting ?? false),
      { rootMargin: `${NEAR_PX}px` },
    )
    observer.observe(shown)
    return () => observer.disconnect()
  }, [])
  return (
    <div
      ref={box}
      className="w-grid-place"
      data-card={card.id}
      style={{
        gridColumn: `span ${Math.min(card.w, columns)}`,
        height: (card.h || DEFAULT_HEIGHT) * ROW,
        opacity: isDragged ? 0.5 : 1,
      }}
    >
      {isNear ? children() : <div className="w-grid-empty" style={{ height: "100%" }} />}
    </div>
  )
}
