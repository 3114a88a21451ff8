/** The panels that compare runs by what they have, not by step: which of them a card is. */

import "./panels.css"

import { BarsCard } from "./bars-card"
import type { CardPlaceProps } from "./card-frame"
import { CompareCard } from "./compare-card"
import { ImportanceCard } from "./importance-card"
import { MediaCard } from "./media-card"
import { ParallelCard } from "./parallel-card"
import { ScatterCard } from "./scatter-card"
import type { KnownKeys } from "../runs/api"
import type { CardLayout, CardPatch, ChartSettings, DrawnRun, RunGroup } from "./types"
import { useKnownKeys } from "./use-cells"

export interface PanelCardProps extends CardPlaceProps {
  card: CardLayout
  experimentIds: readonly string[]
  runs: readonly DrawnRun[]
  groups: readonly RunGroup[] | null
  /** What is shown is asked for again when this changes. */
  newsAt: number
  /** What the card changes of itself. */
  onCard: (patch: CardPatch) => void
  onSettings: (patch: Partial<ChartSettings>) => void
  /** Told the columns that are shown, also those that the card chose. */
  onColumns: (columns: readonly string[]) => void
}

export interface PanelProps extends PanelCardProps {
  /** Null until it is known. */
  known: KnownKeys | null
}

const CARDS = {
  scatter: ScatterCard,
  bars: BarsCard,
  importance: ImportanceCard,
  parallel: ParallelCard,
  compare: CompareCard,
  media: MediaCard,
}

export function PanelCard(props: PanelCardProps) {
  const known = useKnownKeys(props.experimentIds)
  const Card = CARDS[props.card.kind as keyof typeof CARDS]
  return <Card {...props} known={known.data} />
}
