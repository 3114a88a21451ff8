/** The charts of a panel: cards of the workspace, on their own runs. */

import "../charts/charts.css"
import "../charts/inspect"

import { useCallback, useMemo, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { GridCard } from "../charts/grid-card"
import type { KeysAnswer } from "../charts/grid"
import { useLive } from "../charts/live"
import type { CardLayout, CardPatch, ChartSettings } from "../charts/types"
import { DEFAULT_SETTINGS, patched } from "../charts/types"
import type { Panel } from "./document"
import type { PanelRuns } from "./panel-runs"

const GAP = 8
const ROW = 20
const NO_ITEMS: readonly never[] = []
const NOTHING: readonly string[] = []

/** As many columns as fit: a card is never narrower than this, where there is room. */
const NARROWEST = 300

export function PanelCharts({ panel, found, width }: { panel: Panel; found: PanelRuns; width: number }) {
  const { runs, groups } = found
  const cards = panel.cards ?? []
  const needsKeys = cards.some((card) => card.pattern)
  const keys = useAnswer<KeysAnswer>(needsKeys ? "keys" : null, { experiments: panel.runs.experiments })
  const names = useMemo(() => keys.data?.keys.map((one) => one.key) ?? NOTHING, [keys.data])
  const newsAt = useLive(panel.runs.experiments, runs, panel.runs.at === null, keys.retry)
  // What a reader changes is theirs, until they go.
  const [own, setOwn] = useState<ReadonlyMap<string, Partial<ChartSettings>>>(new Map())
  const [zoom, setZoom] = useState<[number, number] | null | undefined>(undefined)
  const settings = useMemo<ChartSettings>(() => {
    const { centre, band } = panel.runs
    const base = { ...DEFAULT_SETTINGS, ...panel.settings, centre, band, groups }
    return zoom === undefined ? base : { ...base, zoom, zoomY: null }
  }, [panel.settings, panel.runs, groups, zoom])
  const onCardSettings = useCallback((_: string, card: CardLayout, patch: Partial<ChartSettings>): void => {
    const { zoom: range, ...rest } = patch
    if (range !== undefined && !patch.zoomY) setZoom(range)
    setOwn((before) => {
      const next = patch.zoomY ? patch : rest
      return new Map(before).set(card.id, { ...before.get(card.id), ...next })
    })
  }, [])
  const [changed, setChanged] = useState<ReadonlyMap<string, CardPatch>>(new Map())
  const onCardPatch = useCallback((_: string, { id }: CardLayout, patch: CardPatch): void => {
    setChanged((before) => new Map(before).set(id, { ...before.get(id), ...patch }))
  }, [])
  const shown = useMemo(
    () =>
      cards.map((card) => {
        const now = patched(card, changed.get(card.id) ?? {})
        return { ...now, settings: { ...card.settings, ...own.get(card.id) } }
      }),
    [cards, own, changed],
  )
  const most = Math.max(1, Math.min(4, Math.floor((width + GAP) / (NARROWEST + GAP))))
  const columns = Math.min(most, Math.max(1, shown.length))
  const unit = Math.floor((width - GAP * (columns - 1)) / columns)
  return (
    <div className="w-panel-cards">
      {shown.map((card, at) => {
        const span = Math.min(columns, Math.max(1, card.w))
        return (
          <GridCard
            key={`${card.id}-${at}`}
            prefix=""
            card={card}
            width={unit * span + GAP * (span - 1)}
            height={card.h * ROW}
            experimentIds={panel.runs.experiments}
            runs={runs}
            settings={settings}
            keys={names}
            favourites={NOTHING}
            newsAt={newsAt}
            onCardSettings={onCardSettings}
            onCardPatch={onCardPatch}
            onAction={nothing}
            items={NO_ITEMS}
            isFull={false}
          />
        )
      })}
    </div>
  )
}

function nothing(): void {
  // What arranges a grid is not offered here.
}
