/** The charts of a page: a section a prefix, cards that can be moved and sized, mounted as they come near. */

import "./charts.css"

import { useCallback, useEffect, useMemo, useRef, useState } from "react"

import type { Answer } from "../api/use-answer"
import { useAnswer } from "../api/use-answer"
import { later } from "../controls/later"
import { LaterDialog } from "../controls/later-dialog"
import { Empty, Failed, Loading } from "../controls/state"
import { visible } from "../text/visible"
import { AxisDialog } from "./axis-dialog"
import { FullCard } from "./full"
import type { CardAction } from "./grid-card"
import { merged } from "./grid-card"
import { Section } from "./grid-section"
import { hoverState } from "./hover"
import "./inspect"
import { useLive } from "./live"
import { setFull, useFull, usePin } from "./place"
import type { CardPlace } from "./sections"
import { OWN, placeBeside, sectionsOf, withCard, withMoved, withSection } from "./sections"
import type { CardLayout, CardPatch, ChartSettings, DrawnRun, GridLayout, SectionLayout } from "./types"
import { patched } from "./types"

const ChartDialog = later(async () => (await import("./chart-dialog")).ChartDialog)

/** The list beside the charts follows the pointer so much later, so that it slows no frame. */
const RAISE_MS = 60

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
  /** The metrics, where the page has asked for them already. */
  metricKeys?: Answer<KeysAnswer>
  /** A section that is there though nobody arranged it. */
  first?: SectionLayout
  /** Somebody wants a new panel; told when that is done with. */
  isAdding: boolean
  onAdded: () => void
}

export interface KeysAnswer {
  keys: { key: string; n_runs: number }[]
  n_runs: number
  is_partial: boolean
}

function defaultColumns(width: number): number {
  if (width >= 1_900) return Math.min(6, Math.floor(width / 560))
  return width >= 900 ? 3 : width >= 560 ? 2 : 1
}

interface Opened {
  what: "edit" | "axes"
  prefix: string
  card: CardLayout
}

export function ChartGrid(props: ChartGridProps) {
  const { experimentIds, runs, settings, onSettings, layout, onLayout, search, raised, onRaise, live } = props
  const { first = null, isAdding, onAdded } = props
  const box = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  const [opened, open] = useState<Opened | null>(null)
  // The card that was just made or moved, to be brought into view.
  const [wanted, want] = useState<{ id: string; isHeld: boolean } | null>(null)
  const full = useFull()
  useEffect(() => {
    const shown = box.current
    if (!shown) return
    const observer = new ResizeObserver(() => setWidth(Math.floor(shown.clientWidth)))
    observer.observe(shown)
    setWidth(Math.floor(shown.clientWidth))
    return () => observer.disconnect()
  }, [])
  // What the charts raised comes back as `raised` a render later, when the pointer may have left.
  const told = useRef<string | null>(null)
  useEffect(() => {
    if (raised === told.current) return
    told.current = raised
    hoverState.raise(raised)
  }, [raised])
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const stop = hoverState.onRaise(() => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        told.current = hoverState.raised
        onRaise(hoverState.raised)
      }, RAISE_MS)
    })
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [onRaise])
  usePin(settings.x)

  const only = runs.length === 1 ? runs[0]?.id : undefined
  const question = only === undefined ? { experiments: experimentIds } : { runs: [only] }
  const asked = useAnswer<KeysAnswer>(props.metricKeys ? null : "keys", question)
  const answer = props.metricKeys ?? asked
  const { retry } = answer
  const newsAt = useLive(experimentIds, runs, live, retry)

  const keys = useMemo(() => answer.data?.keys.map((one) => one.key) ?? [], [answer.data])
  const columns = defaultColumns(width)
  const sections = useMemo(
    () => sectionsOf(keys, layout, columns, search, first),
    [keys, layout, columns, search, first],
  )
  const latest = useRef({ layout, keys, columns, first, onSettings })
  latest.current = { layout, keys, columns, first, onSettings }
  /** What is arranged is the whole section, not what a search leaves of it. */
  const whole = useCallback(
    () => sectionsOf(latest.current.keys, latest.current.layout, latest.current.columns, "", latest.current.first),
    [],
  )
  const changeSection = useCallback(
    (prefix: string, change: (section: SectionLayout) => SectionLayout) => {
      const section = whole().find((one) => one.prefix === prefix)
      if (section) onLayout(withSection(latest.current.layout, change(section)))
    },
    [whole, onLayout],
  )
  const changeCard = useCallback(
    (prefix: string, id: string, change: (card: CardLayout) => CardLayout) =>
      changeSection(prefix, (section) => ({
        ...section,
        cards: section.cards.map((card) => (card.id === id ? change(card) : card)),
      })),
    [changeSection],
  )
  const onCardSettings = useCallback(
    (prefix: string, card: CardLayout, patch: Partial<ChartSettings>) => {
      // A zoom is everybody's where x is the same, but for a rectangle; what else a card changes is its own.
      const { zoom, zoomY, ...own } = patch
      const had = card.settings ?? {}
      let next: Partial<ChartSettings> = { ...had, ...own }
      if (zoom && zoomY) next = { ...next, zoom, zoomY }
      else if (zoom !== undefined) {
        const { zoom: _, zoomY: __, ...rest } = next
        next = rest
        if (zoom !== null || !had.zoom) latest.current.onSettings({ zoom })
      }
      if (JSON.stringify(next) === JSON.stringify(had)) return
      changeCard(prefix, card.id, ({ settings: _, ...rest }) =>
        Object.keys(next).length > 0 ? { ...rest, settings: next } : rest,
      )
    },
    [changeCard],
  )
  const onCardPatch = useCallback(
    (prefix: string, card: CardLayout, patch: CardPatch) => changeCard(prefix, card.id, (own) => patched(own, patch)),
    [changeCard],
  )
  const onMove = useCallback(
    (prefix: string, id: string, to: CardPlace) => {
      onLayout(withMoved(latest.current.layout, whole(), prefix, id, to))
      want({ id, isHeld: false })
    },
    [onLayout, whole],
  )
  const onStep = useCallback(
    (prefix: string, id: string, isBack: boolean) => {
      const sections = whole()
      const to = placeBeside(sections, prefix, id, isBack)
      if (to === null) return
      onLayout(withMoved(latest.current.layout, sections, prefix, id, to))
      want({ id, isHeld: true })
    },
    [onLayout, whole],
  )
  const onAction = useCallback(
    (action: CardAction, prefix: string, card: CardLayout) => {
      const { layout: now } = latest.current
      if (action === "expand") setFull(card.id)
      else if (action === "edit" || action === "axes") open({ what: action, prefix, card })
      else if (action === "remove") {
        changeSection(prefix, (section) => ({
          ...section,
          cards: section.cards.filter((one) => one.id !== card.id),
        }))
      } else if (action === "duplicate") {
        onLayout(withCard(now, whole(), prefix, { ...card, id: newId() }))
      } else {
        const key = card.keys[0] ?? ""
        const favourites = now.favourites.includes(key)
          ? now.favourites.filter((one) => one !== key)
          : [...now.favourites, key]
        onLayout({ ...now, favourites })
      }
    },
    [changeSection, onLayout, whole],
  )
  const onCard = (card: CardLayout): void => {
    let made = card
    const target = opened?.card.isOwn ? opened : null
    if (target) {
      const { id, w, h, settings: kept } = target.card
      made = { ...made, id }
      const { kind, isUp, isWhole } = target.card
      const same = kind === made.kind ? { settings: kept, isUp, isWhole } : {}
      changeCard(target.prefix, id, () => patched({ ...made, w, h }, same))
    } else {
      made = { ...made, id: newId() }
      onLayout(withCard(latest.current.layout, whole(), OWN, made))
    }
    close()
    want({ id: made.id, isHeld: false })
  }
  const close = (): void => {
    open(null)
    if (isAdding) onAdded()
  }
  useEffect(() => {
    if (wanted === null) return
    const places = [...(box.current?.querySelectorAll("[data-card]") ?? [])]
    const place = places.find((one) => one.getAttribute("data-card") === wanted.id)
    place?.scrollIntoView({ block: "nearest" })
    // In another section it is another element: who moves it with keys goes on doing so.
    if (wanted.isHeld) place?.querySelector<HTMLElement>(".w-grid-grip")?.focus()
    want(null)
  }, [wanted])
  const all = sections.flatMap(({ prefix, cards }) => cards.map((card) => ({ prefix, card })))
  const shownFull = all.find(({ card }) => card.id === full)
  const axesOf = opened?.what === "axes" ? all.find(({ card }) => card.id === opened.card.id) : undefined
  return (
    <div ref={box} className="w-grid">
      {answer.error && <Failed what="The metrics could not be read" error={answer.error} onRetry={retry} />}
      {answer.data === null && !answer.error && <Loading label="Loading the charts" rows={4} />}
      {answer.data !== null && keys.length === 0 && <Empty>No run has logged a metric yet.</Empty>}
      {answer.data !== null && keys.length > 0 && sections.length === 0 && (
        <Empty>No chart has “{visible(search, 100)}” in its name.</Empty>
      )}
      {width > 0 &&
        sections.map((section) => (
          <Section
            key={section.prefix}
            section={section}
            width={width}
            experimentIds={experimentIds}
            runs={runs}
            settings={settings}
            keys={keys}
            favourites={layout.favourites}
            newsAt={newsAt}
            wanted={wanted?.id ?? null}
            onChange={changeSection}
            onMove={onMove}
            onStep={onStep}
            onCardSettings={onCardSettings}
            onCardPatch={onCardPatch}
            onAction={onAction}
          />
        ))}
      {shownFull && (
        <FullCard
          prefix={shownFull.prefix}
          card={shownFull.card}
          experimentIds={experimentIds}
          runs={runs}
          settings={settings}
          keys={keys}
          favourites={layout.favourites}
          newsAt={newsAt}
          onCardSettings={onCardSettings}
          onCardPatch={onCardPatch}
          onAction={onAction}
          onStep={(by) => {
            const at = all.findIndex(({ card }) => card.id === full)
            setFull(all[(at + by + all.length) % all.length]?.card.id ?? null)
          }}
          onClose={() => setFull(null)}
        />
      )}
      {(isAdding || opened?.what === "edit") && (
        <LaterDialog title="Panel" onClose={close}>
          <ChartDialog
            card={opened?.card ?? null}
            keys={keys}
            experimentIds={experimentIds}
            runs={runs}
            onCard={onCard}
            onClose={close}
          />
        </LaterDialog>
      )}
      {axesOf && (
        <AxisDialog
          settings={merged(settings, axesOf.card.settings)}
          onSettings={(patch) => onCardSettings(axesOf.prefix, axesOf.card, patch)}
          onClose={() => open(null)}
        />
      )}
    </div>
  )
}

function newId(): string {
  return `own-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`
}
