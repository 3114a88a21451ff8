/** What the panels that compare runs are given. */

import type { KnownKeys } from "../runs/api"
import type { CardPlaceProps } from "./card-frame"
import type { CardLayout, CardPatch, ChartSettings, DrawnRun, RunGroup } from "./types"

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
