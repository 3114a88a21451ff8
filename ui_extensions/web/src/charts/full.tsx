/** A card alone, as large as the page, with its settings and its table. */

import { useEffect, useRef, useState } from "react"

import { IconButton } from "../controls/button"
import { visible } from "../text/visible"
import { LineCard } from "./card"
import { ChartToolbar } from "./toolbar"
import type { CardLayout, ChartSettings, DrawnRun } from "./types"

export function FullCard({
  card,
  runs,
  settings,
  keys,
  onSettings,
  onStep,
  onClose,
}: {
  card: CardLayout
  runs: readonly DrawnRun[]
  settings: ChartSettings
  keys: readonly string[]
  onSettings: (patch: Partial<ChartSettings>) => void
  /** Show the previous (-1) or the next (1) card. */
  onStep: (by: number) => void
  onClose: () => void
}) {
  const box = useRef<HTMLDialogElement>(null)
  const [size, setSize] = useState({ width: innerWidth, height: innerHeight })
  useEffect(() => {
    const shown = box.current
    if (shown && !shown.open) shown.showModal?.()
    const onResize = (): void => setSize({ width: innerWidth, height: innerHeight })
    addEventListener("resize", onResize)
    return () => {
      removeEventListener("resize", onResize)
      shown?.close?.()
    }
  }, [])
  const title = card.keys.map((key) => visible(key)).join(", ")
  return (
    <dialog
      ref={box}
      className="w-full"
      aria-label={`Full screen: ${title}`}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onKeyDown={(event) => {
        const isChart = (event.target as HTMLElement).classList.contains("w-chart")
        const isInput = (event.target as HTMLElement).matches("input, select")
        if (isChart || isInput) return
        if (event.key === "ArrowLeft") onStep(-1)
        if (event.key === "ArrowRight") onStep(1)
      }}
    >
      <div className="w-full-head">
        <IconButton icon="chevronLeft" label="Previous chart" onClick={() => onStep(-1)} />
        <IconButton icon="chevronRight" label="Next chart" onClick={() => onStep(1)} />
        <h2>{title}</h2>
        <IconButton icon="close" label="Close" onClick={onClose} />
      </div>
      <div className="w-full-body">
        <ChartToolbar settings={settings} onSettings={onSettings} keys={keys} />
        <LineCard
          key={card.id}
          keys={card.keys}
          runs={runs}
          settings={settings}
          onSettings={onSettings}
          width={size.width - 32}
          height={Math.max(240, size.height - 130)}
          isFull
        />
      </div>
    </dialog>
  )
}
