import type { RefObject } from "react"
import { useEffect, useState } from "react"

import { isAbort } from "../api/client"
import { hoverState } from "../charts/hover"
import { PlaceLink } from "../layout/link"
import { dateTime } from "../text/format"
import type { RunFacts } from "./facts"
import { timeOfStep } from "./moment"

const DRAG_PX = 4

/**
 * The way from a moment on the charts to what was printed then: a click on a chart, or Enter on one
 * that has the focus, names the moment.
 */
export function Moment({
  run,
  within,
  wantedMs,
}: {
  run: RunFacts
  /** What holds the charts. */
  within: RefObject<HTMLElement | null>
  /** A moment that is named already, in ms. */
  wantedMs: number | null
}) {
  const [atMs, setAtMs] = useState(wantedMs)
  useEffect(() => setAtMs(wantedMs), [wantedMs])
  useEffect(() => {
    const box = within.current
    if (!box) return
    const abort = new AbortController()
    let from: { x: number; y: number } | null = null
    const name = (target: EventTarget | null): void => {
      const card = target instanceof Element ? target.closest<HTMLElement>("[data-keys]") : null
      const [key] = card?.dataset.keys?.split("\n") ?? []
      const { axis, x } = hoverState.hover
      if (!key || x === null) return
      timeOf(run, axis, x, key, abort.signal).then(
        (found) => {
          if (found !== null && !abort.signal.aborted) setAtMs(found)
        },
        (failed: unknown) => {
          // Without it the charts lack a short cut, and nothing else.
          if (!isAbort(failed)) setAtMs(null)
        },
      )
    }
    const onDown = (event: PointerEvent): void => {
      from = { x: event.clientX, y: event.clientY }
    }
    const onUp = (event: PointerEvent): void => {
      const isClick =
        from !== null && Math.hypot(event.clientX - from.x, event.clientY - from.y) < DRAG_PX
      from = null
      if (isClick && (event.target as Element).closest(".u-over")) name(event.target)
    }
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === "Enter" && (event.target as Element).matches("[role=application]")) {
        name(event.target)
      }
    }
    box.addEventListener("pointerdown", onDown)
    box.addEventListener("pointerup", onUp)
    box.addEventListener("keydown", onKey)
    return () => {
      abort.abort()
      box.removeEventListener("pointerdown", onDown)
      box.removeEventListener("pointerup", onUp)
      box.removeEventListener("keydown", onKey)
    }
  }, [run.id, run.start_ms, within])
  if (atMs === null) return null
  return (
    <PlaceLink
      to={{ page: "run", runId: run.id, tab: "console" }}
      query={new URLSearchParams({ t: String(Math.round(atMs)) })}
    >
      Console at {dateTime(atMs)}
    </PlaceLink>
  )
}

/** When that is, in ms; null where the axis does not tell. */
async function timeOf(
  run: RunFacts,
  axis: string,
  x: number,
  key: string,
  signal: AbortSignal,
): Promise<number | null> {
  if (axis === "wall") return x
  if (axis === "step") return timeOfStep(run.id, key, Math.round(x), signal)
  // Time since the run's first point, which is close to when it began.
  return axis === "rel" && run.start_ms !== null ? run.start_ms + x : null
}
