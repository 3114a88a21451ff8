/**
 * What of the charts is in the URL beside the view: the card in full screen (`fs`), and the cursor
 * where it is pinned (`cx`: x, y and the chart's name).
 */

import { useEffect } from "react"

import { route, setQuery, useRoute } from "../router"
import type { Pin } from "./hover"
import { hoverState } from "./hover"
import type { XAxis } from "./types"

const MAX_NAME = 1_000

/** The id of the card that is in full screen, or null. */
export function useFull(): string | null {
  return useRoute().query.get("fs")
}

export function setFull(id: string | null): void {
  // Back leaves the full screen; going on to another card adds nothing to go back through.
  change("fs", id, { push: id !== null && !route().query.has("fs") })
}

function change(key: string, value: string | null, options: { push: boolean }): void {
  const query = new URLSearchParams(route().query)
  if (query.get(key) === value) return
  if (value === null) query.delete(key)
  else query.set(key, value)
  setQuery(query, options)
}

export function writePin(pin: Pin): string {
  return `${round(pin.x)},${round(pin.y)},${pin.chart}`
}

/** Seven digits place a cursor to the pixel, but not a time. */
function round(value: number): number {
  return Math.abs(value) >= 1e6 ? Math.round(value) : Number(value.toPrecision(7))
}

export function readPin(text: string | null, axis: XAxis): Pin | null {
  const found = /^([^,]+),([^,]+),(.+)$/s.exec(text ?? "")
  if (!found) return null
  const [x, y] = [Number(found[1]), Number(found[2])]
  if (!Number.isFinite(x) || !Number.isFinite(y)) return null
  return { axis, x, y, chart: (found[3] as string).slice(0, MAX_NAME) }
}

/** Pin the cursor where the URL says, and say in the URL where it is pinned. */
export function usePin(axis: XAxis): void {
  // biome-ignore lint: another axis is another place
  useEffect(() => {
    hoverState.setPin(readPin(route().query.get("cx"), axis))
    const stop = hoverState.onPin((pin) => change("cx", pin === null ? null : writePin(pin), { push: false }))
    // Also where the pinned place is out of view; before a dialog around takes it for its own end.
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== "Escape" || event.defaultPrevented || hoverState.pin === null) return
      event.preventDefault()
      event.stopPropagation()
      hoverState.setPin(null)
    }
    document.addEventListener("keydown", onKey, true)
    return () => {
      document.removeEventListener("keydown", onKey, true)
      stop()
      hoverState.setPin(null)
    }
  }, [])
}
