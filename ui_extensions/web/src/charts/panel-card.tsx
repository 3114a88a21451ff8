/** The panels that compare runs by what they have, not by step: which of them a card is. */

import "./panels.css"

import { BarsCard } from "./bars-card"
import { CompareCard } from "./compare-card"
import { ImportanceCard } from "./importance-card"
import { MediaCard } from "./media-card"
import type { PanelCardProps } from "./panel-props"
import { ParallelCard } from "./parallel-card"
import { ScatterCard } from "./scatter-card"
import { useKnownKeys } from "./use-cells"

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
