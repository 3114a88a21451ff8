/** The charts of a page: a section a prefix, cards that can be moved and sized, mounted as they come near. */

import "./charts.css"

import type { KeyboardEvent, PointerEvent as ReactPointerEvent } from "react"
import { memo, useCallback, useEffect, useMemo, useRef, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { IconButton } from "../controls/button"
import { Icon } from "../controls/icon"
import { Empty, Failed, Loading } from "../controls/state"
import { seriesStore } from "../data/series-store"
import { poll } from "../data/poller"
import { count } from "../text/format"
import { visible } from "../text/visible"
import { LineCard } from "./card"
import { CompareSection } from "./compare-section"
import { FullCard } from "./full"
import { hoverState } from "./hover"
import "./inspect"
import { DEFAULT_HEIGHT, FAVOURITES, moved, sectionsOf, withSection } from "./sections"
import type { CardLayout, ChartSettings, DrawnRun, GridLayout, SectionLayout } from "./types"

const ROW = 20
const GAP = 8
const NEAR_PX = 200
const PAGE = 60
const KEYS_MS = 15_000

export interface ChartGridProps {
  experimentIds: readonly string[]
  runs: readonly DrawnRun[]
  settings: ChartSettings
  onSettings: (patch: Partial<ChartSettings>) => void
  layout: GridLayout
  onLayout: (layout: GridLayout) => void
  /** Words that a chart's metrics must have. */
  search: string
  /** The run that is raised on every chart, as in the list beside it. */
  raised: string | null
  onRaise: (runId: string | null) => void
  /** Ask for what is new while something is running. */
  live: boolean
}

interface KeysAnswer {
  keys: { key: string; n_runs: number }[]
  n_runs: number
  is_partial: boolean
}

function defaultColumns(width: number): number {
  return width >= 900 ? 3 : width >= 560 ? 2 : 1
}

export function ChartGrid(props: ChartGridProps) {
  const { experimentIds, runs, settings, onSettings, layout, onLayout, search, raised, onRaise, live } = props
  const box = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  const [full, setFull] = useState<string | null>(null)
  useEffect(() => {
    const shown = box.current
    if (!shown) return
    const observer = new ResizeObserver(() => setWidth(Math.floor(shown.clientWidth)))
    observer.observe(shown)
    setWidth(Math.floor(shown.clientWidth))
    return () => observer.disconnect()
  }, [])
  useEffect(() => hoverState.raise(raised), [raised])
  useEffect(() => hoverState.onRaise(onRaise), [onRaise])

  const only = runs.length === 1 ? runs[0]?.id : undefined
  const question = only === undefined ? { experiments: experimentIds } : { runs: [only] }
  const answer = useAnswer<KeysAnswer>("keys", question)
  const { retry } = answer
  useLive(experimentIds, runs, live, retry)

  const keys = useMemo(() => answer.data?.keys.map((one) => one.key) ?? [], [answer.data])
  const columns = defaultColumns(width)
  const sections = useMemo(
    () => sectionsOf(keys, layout, columns, search),
    [keys, layout, columns, search],
  )
  const latest = useRef({ layout, sections })
  latest.current = { layout, sections }
  const changeSection = useCallback(
    (prefix: string, change: (section: SectionLayout) => SectionLayout) => {
      // What is arranged is the whole section, not what a search leaves of it.
      const now = sectionsOf(keys, latest.current.layout, columns, "")
      const section = now.find((one) => one.prefix === prefix)
      if (section) onLayout(withSection(latest.current.layout, change(section)))
    },
    [keys, columns, onLayout],
  )
  const toggleFavourite = useCallback(
    (key: string) => {
      const { favourites } = latest.current.layout
      const next = favourites.includes(key)
        ? favourites.filter((one) => one !== key)
        : [...favourites, key]
      onLayout({ ...latest.current.layout, favourites: next })
    },
    [onLayout],
  )
  const all = sections.flatMap((section) => (section.isOpen ? section.cards : []))
  const shownFull = all.find((card) => card.id === full)
  return (
    <div ref={box} className="w-grid">
      {answer.error && <Failed what="The metrics could not be read" error={answer.error} onRetry={retry} />}
      {answer.data === null && !answer.error && <Loading label="Loading the charts" rows={4} />}
      {answer.data !== null && keys.length === 0 && <Empty>No run has logged a metric yet.</Empty>}
      {answer.data !== null && keys.length > 0 && sections.length === 0 && (
        <Empty>No metric has “{visible(search, 100)}” in its name.</Empty>
      )}
      {width > 0 && only === undefined && keys.length > 0 && (
        <CompareSection experimentIds={experimentIds} runs={runs} width={width} />
      )}
      {width > 0 &&
        sections.map((section) => (
          <Section
            key={section.prefix}
            section={section}
            width={width}
            runs={runs}
            settings={settings}
            onSettings={onSettings}
            favourites={layout.favourites}
            onChange={changeSection}
            onFavourite={toggleFavourite}
            onExpand={setFull}
          />
        ))}
      {shownFull && (
        <FullCard
          card={shownFull}
          runs={runs}
          settings={{ ...settings, ...shownFull.settings }}
          keys={keys}
          onSettings={onSettings}
          onStep={(by) => {
            const at = all.findIndex((card) => card.id === full)
            setFull(all[(at + by + all.length) % all.length]?.id ?? null)
          }}
          onClose={() => setFull(null)}
        />
      )}
    </div>
  )
}

/** Ask what is new, and have it read, while the page is seen. */
function useLive(
  experimentIds: readonly string[],
  runs: readonly DrawnRun[],
  live: boolean,
  onKeys: () => void,
): void {
  const watched = useRef({ experimentIds, runs })
  watched.current = { experimentIds, runs }
  const name = experimentIds.join()
  useEffect(() => {
    if (!live) return
    let askedAt = Date.now()
    return poll(
      () => ({
        experiments: watched.current.experimentIds,
        runs: watched.current.runs.filter((run) => run.status === "RUNNING").map((run) => run.id).slice(0, 1_000),
      }),
      (news) => {
        if (news.length === 0) return
        seriesStore.refresh(news)
        // Counting metrics costs more than a poll, and new ones are seldom.
        if (Date.now() - askedAt < KEYS_MS) return
        askedAt = Date.now()
        onKeys()
      },
      () => undefined,
    )
  }, [live, name, onKeys])
}

interface SectionProps {
  section: SectionLayout
  width: number
  runs: readonly DrawnRun[]
  settings: ChartSettings
  onSettings: (patch: Partial<ChartSettings>) => void
  favourites: readonly string[]
  onChange: (prefix: string, change: (section: SectionLayout) => SectionLayout) => void
  onFavourite: (key: string) => void
  onExpand: (id: string) => void
}

const Section = memo(function Section(props: SectionProps) {
  const { section, width, runs, settings, onSettings, favourites, onChange, onFavourite, onExpand } = props
  const { prefix, isOpen, columns, cards } = section
  const [dragged, setDragged] = useState<string | null>(null)
  const [target, setTarget] = useState<string | null>(null)
  const [nShown, setShown] = useState(PAGE)
  const cell = (width - GAP * (columns - 1)) / columns
  const name = prefix === FAVOURITES ? "Favourites" : prefix === "" ? "Metrics" : visible(prefix)
  const change = useCallback(
    (id: string, patch: (card: CardLayout) => CardLayout) =>
      onChange(prefix, (own) => ({
        ...own,
        cards: own.cards.map((card) => (card.id === id ? patch(card) : card)),
      })),
    [onChange, prefix],
  )
  const move = useCallback(
    (id: string, before: string | null) =>
      onChange(prefix, (own) => ({ ...own, cards: moved(own.cards, id, before) })),
    [onChange, prefix],
  )
  const onGrip = (event: ReactPointerEvent, id: string): void => {
    event.preventDefault()
    const grip = event.currentTarget as HTMLElement
    grip.setPointerCapture(event.pointerId)
    setDragged(id)
    let over: string | null = null
    const onMove = (at: PointerEvent): void => {
      const place = document.elementsFromPoint(at.clientX, at.clientY).find((one) => one.classList.contains("w-grid-place"))
      over = place?.getAttribute("data-card") ?? null
      setTarget(over === id ? null : over)
    }
    const onUp = (): void => {
      grip.removeEventListener("pointermove", onMove)
      grip.removeEventListener("pointerup", onUp)
      grip.removeEventListener("pointercancel", onUp)
      setDragged(null)
      setTarget(null)
      if (over !== null && over !== id) move(id, over)
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
    const at = cards.findIndex((one) => one.id === card.id)
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
    const before = isBack ? cards[at - 1]?.id : cards[at + 2]?.id
    if (isBack ? at > 0 : at < cards.length - 1) move(card.id, before ?? null)
  }
  return (
    <section className="w-grid-section" aria-label={`Charts: ${name}`}>
      <div className="w-grid-head">
        <h2>
          <button
            type="button"
            className="w-grid-fold"
            aria-expanded={isOpen}
            onClick={() => onChange(prefix, (own) => ({ ...own, isOpen: !own.isOpen }))}
          >
            <Icon name={isOpen ? "chevronDown" : "chevronRight"} />
            {name} <span className="w-grid-count">({count(cards.length)})</span>
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
            <Place key={card.id} card={card} columns={columns} isTarget={target === card.id} isDragged={dragged === card.id}>
              {() => (
                <>
                  <LineCard
                    keys={card.keys}
                    runs={runs}
                    settings={card.settings ? { ...settings, ...card.settings } : settings}
                    onSettings={(patch) => {
                      // A zoom is everybody's, where x is the same; what else a card changes is its own.
                      const { zoom, ...own } = patch
                      if (zoom !== undefined) onSettings({ zoom })
                      if (Object.keys(own).length > 0) {
                        change(card.id, (now) => ({ ...now, settings: { ...now.settings, ...own } }))
                      }
                    }}
                    width={Math.floor(Math.min(card.w, columns) * cell + GAP * (Math.min(card.w, columns) - 1))}
                    height={(card.h || DEFAULT_HEIGHT) * ROW}
                    onExpand={() => onExpand(card.id)}
                    items={[
                      {
                        label: favourites.includes(card.keys[0] ?? "") ? "Take from favourites" : "Add to favourites",
                        icon: "star",
                        isFirstOfGroup: true,
                        onSelect: () => onFavourite(card.keys[0] ?? ""),
                      },
                    ]}
                    grip={
                      <button
                        type="button"
                        className="w-grid-grip"
                        aria-label={`Move ${visible(card.keys.join(", "), 100)}: Alt and arrows; with Shift, its size`}
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
  isTarget,
  isDragged,
  children,
}: {
  card: CardLayout
  columns: number
  isTarget: boolean
  isDragged: boolean
  children: () => React.ReactNode
}) {
  const box = useRef<HTMLDivElement>(null)
  const [isNear, setNear] = useState(false)
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
      className={`w-grid-place${isTarget ? " w-grid-target" : ""}`}
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
