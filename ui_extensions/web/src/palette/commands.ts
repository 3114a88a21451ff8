/** What a page offers to the palette, beside the ways to other pages. */

import { useEffect, useRef } from "react"

import type { IconName } from "../controls/icon"

export interface Command {
  readonly label: string
  /** The key that does it too, or what it does it to. */
  readonly about?: string
  readonly icon?: IconName
  readonly run: () => void
}

export interface PaletteSource {
  readonly commands?: readonly Command[]
  /** Whose runs and metrics are looked for. */
  readonly experimentIds?: readonly string[]
  /** Show the charts of a metric; without it no metrics are offered. */
  readonly showMetric?: (key: string) => void
}

const sources = new Set<{ readonly current: PaletteSource }>()

/** Offer something while a component is there. */
export function usePaletteSource(source: PaletteSource): void {
  const latest = useRef(source)
  latest.current = source
  useEffect(() => {
    sources.add(latest)
    return () => {
      sources.delete(latest)
    }
  }, [])
}

/** All that is offered now. */
export function paletteSource(): Required<Pick<PaletteSource, "commands" | "experimentIds">> &
  Pick<PaletteSource, "showMetric"> {
  const all = [...sources].map((one) => one.current)
  const showMetric = all.find((one) => one.showMetric)?.showMetric
  return {
    commands: all.flatMap((one) => one.commands ?? []),
    experimentIds: all.find((one) => one.experimentIds)?.experimentIds ?? [],
    ...(showMetric && { showMetric }),
  }
}
