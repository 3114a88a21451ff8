/** A card alone, as large as the page, with its settings. */

import { useEffect, useRef, useState } from "react"

import { IconButton } from "../controls/button"
import { visible } from "../text/visible"
import { AxisFields } from "./axis-dialog"
import type { GridCardProps } from "./grid-card"
import { GridCard, merged } from "./grid-card"
import { titleOf } from "./sections"
import { ChartToolbar } from "./toolbar"
import type { ChartSettings } from "./types"

const PADDING = 32

export function FullCard(
  props: Omit<GridCardProps, "width" | "height" | "isFull"> & {
    /** Show the previous (-1) or the next (1) card. */
    onStep: (by: number) => void
    onClose: () => void
  },
) {
  const { prefix, card, settings, keys, onCardSettings, onStep, onClose } = props
  const box = useRef<HTMLDialogElement>(null)
  const heading = useRef<HTMLHeadingElement>(null)
  const bars = useRef<HTMLDivElement>(null)
  const [size, setSize] = useState({ width: innerWidth, height: innerHeight, above: 110 })
  useEffect(() => {
    const shown = box.current
    if (shown && !shown.open) shown.showModal?.()
    // Not a button, whose tooltip would lie over the chart.
    heading.current?.focus()
    const measure = (): void => {
      const above = bars.current?.getBoundingClientRect().bottom ?? 110
      setSize({ width: innerWidth, height: innerHeight, above })
    }
    measure()
    const observer = new ResizeObserver(measure)
    if (bars.current) observer.observe(bars.current)
    addEventListener("resize", measure)
    return () => {
      observer.disconnect()
      removeEventListener("resize", measure)
      shown?.close?.()
    }
  }, [])
  const title = visible(titleOf(card))
  const own = merged(settings, card.settings)
  const onSettings = (patch: Partial<ChartSettings>): void => onCardSettings(prefix, card, patch)
  return (
    <dialog
      ref={box}
      className="w-full"
      aria-label={`Full screen: ${title}`}
      onCancel={(event) => {
        event.preventDefault()
        if (event.target === event.currentTarget) onClose()
      }}
      onKeyDown={(event) => {
        const isChart = (event.target as HTMLElement).classList.contains("w-chart")
        const isInput = (event.target as HTMLElement).matches("input, select")
        if (isChart || isInput) return
        if (event.key === "ArrowLeft") onStep(-1)
        if (event.key === "ArrowRight") onStep(1)
      }}
    >
      <div ref={bars}>
        <div className="w-full-head">
          <IconButton icon="chevronLeft" label="Previous chart" onClick={() => onStep(-1)} />
          <IconButton icon="chevronRight" label="Next chart" onClick={() => onStep(1)} />
          <h2 ref={heading} tabIndex={-1}>
            {title}
          </h2>
          <IconButton icon="close" label="Close" onClick={onClose} />
        </div>
        {card.kind === "line" && (
          <div className="w-full-bars">
            <ChartToolbar settings={own} onSettings={onSettings} keys={keys} />
            <AxisFields settings={own} onSettings={onSettings} />
          </div>
        )}
      </div>
      <GridCard
        {...props}
        key={card.id}
        width={size.width - PADDING}
        height={Math.max(240, size.height - size.above - PADDING / 2 - 8)}
        isFull
      />
    </dialog>
  )
}
