/** A card of the grid, of whatever kind, with what its menu does beside the card's own. */

import type { ReactNode } from "react"
import { Suspense, useCallback, useRef } from "react"

import { later } from "../controls/later"
import type { MenuItem } from "../controls/menu"
import { useMatches } from "../data/match"
import { Loading } from "../controls/state"
import { visible } from "../text/visible"
import { LineCard } from "./card"
import { CardFrame } from "./card-frame"
import { ScalarCard } from "./scalar-card"
import { titleOf } from "./sections"
import { TextCard } from "./text-card"
import { useAddToReport } from "./to-report"
import type { CardLayout, CardPatch, ChartSettings, DrawnRun } from "./types"
import { MAX_CARD_KEYS } from "./types"

// Who looks at lines alone does without their code.
const PanelCard = later(async () => (await import("./panel-card")).PanelCard)

export type CardAction = "expand" | "favourite" | "edit" | "remove" | "duplicate" | "axes"

export interface GridCardProps {
  prefix: string
  card: CardLayout
  width: number
  height: number
  experimentIds: readonly string[]
  runs: readonly DrawnRun[]
  /** The workspace's; the card may have some of its own. */
  settings: ChartSettings
  /** All metrics that there are. */
  keys: readonly string[]
  favourites: readonly string[]
  newsAt: number
  onCardSettings: (prefix: string, card: CardLayout, patch: Partial<ChartSettings>) => void
  /** What a card changes of itself that is no setting of a chart. */
  onCardPatch: (prefix: string, card: CardLayout, patch: CardPatch) => void
  onAction: (action: CardAction, prefix: string, card: CardLayout) => void
  grip?: ReactNode
  isFull?: boolean
  /** In the menu instead of what arranges the grid: the card stands elsewhere. */
  items?: readonly MenuItem[]
}

export function GridCard(props: GridCardProps) {
  return props.card.pattern ? <MatchedCard {...props} /> : <KnownCard {...props} cardKeys={props.card.keys} />
}

/** A card whose metrics are those that an expression matches, also ones that come later. */
function MatchedCard(props: GridCardProps) {
  const pattern = props.card.pattern ?? ""
  const found = useMatches(pattern, props.keys)
  const matches = found.keys ?? NONE
  const n = matches.length
  const note =
    found.error !== null
      ? found.error.message
      : found.keys !== null && n === 0
        ? `no metric matches ${visible(pattern, 60)}`
        : n > MAX_CARD_KEYS
          ? `the first ${MAX_CARD_KEYS} of ${n} metrics`
          : null
  return <KnownCard {...props} cardKeys={n > MAX_CARD_KEYS ? matches.slice(0, MAX_CARD_KEYS) : matches} note={note} />
}

const NONE: readonly string[] = []

function KnownCard(props: GridCardProps & { cardKeys: readonly string[]; note?: string | null }) {
  const { prefix, card, cardKeys, settings, favourites, onCardSettings, onAction, isFull } = props
  const { runs, width, height, grip, note } = props
  const onSettings = useCallback(
    (patch: Partial<ChartSettings>) => onCardSettings(prefix, card, patch),
    [onCardSettings, prefix, card],
  )
  const { onCardPatch } = props
  const onCard = useCallback(
    (patch: CardPatch) => onCardPatch(prefix, card, patch),
    [onCardPatch, prefix, card],
  )
  // A panel may choose for itself what it shows.
  const shownColumns = useRef<readonly string[]>([])
  const onColumns = useCallback((columns: readonly string[]) => {
    shownColumns.current = columns
  }, [])
  const act = (action: CardAction) => (): void => onAction(action, prefix, card)
  const key = card.keys[0] ?? ""
  const report = useAddToReport()
  const items: readonly MenuItem[] = props.items ?? [
    ...(card.kind === "line" ? [{ label: "Axis ranges…", isFirstOfGroup: true, onSelect: act("axes") }] : []),
    {
      label: card.isOwn ? "Edit…" : "Chart with more metrics…",
      icon: "edit",
      isFirstOfGroup: card.kind !== "line",
      onSelect: act("edit"),
    },
    ...(card.isOwn
      ? [
          { label: "Duplicate", icon: "copy" as const, onSelect: act("duplicate") },
          { label: "Remove", icon: "trash" as const, onSelect: act("remove") },
        ]
      : [
          {
            label: favourites.includes(key) ? "Take from favourites" : "Add to favourites",
            icon: "star" as const,
            onSelect: act("favourite"),
          },
        ]),
    ...(report === null
      ? []
      : [{ label: "Add to report…", icon: "plus" as const, onSelect: () => report(addedCard(props, cardKeys, shownColumns.current)) }]),
  ]
  const expand = isFull || props.items ? {} : { onExpand: act("expand") }
  const place = { width, height, items, grip, ...expand }
  if (card.kind === "text") {
    return <TextCard text={card.text ?? ""} title={card.title} name={titleOf(card)} {...place} />
  }
  if (card.kind === "scalar") {
    return (
      <ScalarCard
        experimentIds={props.experimentIds}
        metric={key}
        aggregate={card.aggregate ?? "latest"}
        title={titleOf(card)}
        runs={runs}
        groups={settings.groups}
        newsAt={props.newsAt}
        isUp={card.isUp === true}
        onCard={onCard}
        {...place}
      />
    )
  }
  if (card.kind !== "line") {
    return (
      <Suspense
        fallback={
          <CardFrame kind={card.kind} title={titleOf(card)} {...place}>
            <Loading label={`Loading: ${titleOf(card)}`} rows={4} />
          </CardFrame>
        }
      >
        <PanelCard
          card={card}
          experimentIds={props.experimentIds}
          runs={runs}
          groups={settings.groups}
          newsAt={props.newsAt}
          onCard={onCard}
          onSettings={onSettings}
          onColumns={onColumns}
          {...place}
        />
      </Suspense>
    )
  }
  return (
    <LineCard
      keys={cardKeys}
      title={card.isOwn ? titleOf(card) : undefined}
      note={note}
      runs={runs}
      settings={merged(settings, card.settings)}
      onSettings={onSettings}
      width={width}
      height={height}
      items={items}
      grip={grip}
      {...(isFull ? { isFull } : expand)}
    />
  )
}

/** The card as it looks now, for where the grid's settings are not. */
function addedCard({ card, settings }: GridCardProps, keys: readonly string[], columns: readonly string[]): CardLayout {
  if (columns.length > 0) return { ...card, columns: [...columns] }
  if (card.kind !== "line" && card.kind !== "scalar") return card
  const { groups: _, centre: __, band: ___, ...shown } = merged(settings, card.settings)
  return { ...card, keys: card.pattern ? [] : [...keys], settings: shown }
}

const merges = new WeakMap<ChartSettings, WeakMap<object, ChartSettings>>()

/** The same object for the same two, so that nothing is computed for nothing. */
export function merged(settings: ChartSettings, own: Partial<ChartSettings> | undefined): ChartSettings {
  if (own === undefined) return settings
  let known = merges.get(settings)
  if (known === undefined) {
    known = new WeakMap()
    merges.set(settings, known)
  }
  let found = known.get(own)
  if (found === undefined) {
    found = { ...settings, ...own }
    known.set(own, found)
  }
  return found
}
