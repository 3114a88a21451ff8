/** The charts of a page: a section a prefix, cards that can be moved and sized, mounted as they come near. */

import "./charts.css"

import type { ReactNode } from "react"
import { useCallback, useEffect, useMemo, useRef, useState } from "react"

import type { Answer } from "../api/use-answer"
import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import { Empty, Failed, Loading } from "../controls/state"
import { visible } from "../text/visible"
import { AxisDialog } from "./axis-dialog"
import { ChartDialog } from "./chart-dialog"
import { FullCard } from "./full"
import type { CardAction } from "./grid-card"
import { merged } from "./grid-card"
import { Section } from "./grid-section"
import { hoverState } from "./hover"
import "./inspect"
import { useLive } from "./live"
import { setFull, useFull, usePin } from "./place"
import { OWN, sectionsOf, withCard, withSection } from "./sections"
import type { CardLayout, ChartSettings, DrawnRun, GridLayout, SectionLayout } from "./types"

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
  /** Above the sections, given the width in px. */
  above?: (width: number) => ReactNode
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
  card: CardLayout | null
}

export function ChartGrid(props: ChartGridProps) {
  const { experimentIds, runs, settings, onSettings, layout, onLayout, search, raised, onRaise, live } = props
  const box = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  const [opened, open] = useState<Opened | null>(null)
  // The card that was just made, to be brought into view.
  const [shown, setShown] = useState<string | null>(null)
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
    () => sectionsOf(keys, layout, columns, search),
    [keys, layout, columns, search],
  )
  const latest = useRef({ layout, keys, columns, onSettings })
  latest.current = { layout, keys, columns, onSettings }
  /** What is arranged is the whole section, not what a search leaves of it. */
  const whole = useCallback(
    () => sectionsOf(latest.current.keys, latest.current.layout, latest.current.columns, ""),
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
    const target = opened?.card?.isOwn ? opened : null
    if (target?.card) {
      const { id, w, h, settings: kept } = target.card
      made = { ...made, id }
      changeCard(target.prefix, id, () => ({ ...made, w, h, ...(kept ? { settings: kept } : {}) }))
    } else {
      made = { ...made, id: newId() }
      onLayout(withCard(latest.current.layout, whole(), OWN, made))
    }
    open(null)
    setShown(made.id)
  }
  useEffect(() => {
    if (shown === null) return
    const place = [...(box.current?.querySelectorAll("[data-card]") ?? [])]
    place.find((one) => one.getAttribute("data-card") === shown)?.scrollIntoView({ block: "nearest" })
    setShown(null)
  }, [shown])
  const all = sections.flatMap(({ prefix, cards }) => cards.map((card) => ({ prefix, card })))
  const shownFull = all.find(({ card }) => card.id === full)
  const axesOf = opened?.what === "axes" ? all.find(({ card }) => card.id === opened.card?.id) : undefined
  return (
    <div ref={box} className="w-grid">
      {answer.error && <Failed what="The metrics could not be read" error={answer.error} onRetry={retry} />}
      {answer.data === null && !answer.error && <Loading label="Loading the charts" rows={4} />}
      {answer.data !== null && keys.length === 0 && <Empty>No run has logged a metric yet.</Empty>}
      {answer.data !== null && keys.length > 0 && sections.length === 0 && (
        <Empty>No metric has “{visible(search, 100)}” in its name.</Empty>
      )}
      {width > 0 && keys.length > 0 && (
        <div className="w-grid-tools">
          {props.above?.(width)}
          <Button icon="plus" isSmall onClick={() => open({ what: "edit", prefix: OWN, card: null })}>
            Add a chart
          </Button>
        </div>
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
            onChange={changeSection}
            onCardSettings={onCardSettings}
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
          onAction={onAction}
          onStep={(by) => {
            const at = all.findIndex(({ card }) => card.id === full)
            setFull(all[(at + by + all.length) % all.length]?.card.id ?? null)
          }}
          onClose={() => setFull(null)}
        />
      )}
      {opened?.what === "edit" && (
        <ChartDialog card={opened.card} keys={keys} onCard={onCard} onClose={() => open(null)} />
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
