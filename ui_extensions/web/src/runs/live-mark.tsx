import { useEffect, useState } from "react"

import { ago, dateTime } from "../text/format"
import type { LiveState } from "./data"

/** Whether the page follows what happens, and how old what it shows is. Click freezes it. */
export function LiveMark({ live }: { live: LiveState }) {
  const [nowMs, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1_000)
    return () => window.clearInterval(timer)
  }, [])
  const age = ago(live.atMs, nowMs)
  const words = !live.isOn
    ? `frozen, as of ${dateTime(live.atMs)}`
    : live.isFailing
      ? `the server does not answer; as of ${age}`
      : live.isRunning
        ? "live"
        : "up to date"
  const kind = !live.isOn ? "frozen" : live.isFailing ? "failing" : live.isRunning ? "live" : "quiet"
  return (
    <button
      type="button"
      className={`w-live w-live-${kind}`}
      aria-pressed={live.isOn}
      title={
        live.isOn
          ? "Follows new runs and points; click to freeze (.)"
          : "Runs that began later are left out, those that were running are shown as they were then; the filter and the order go by what they are now. Click to follow again (.)"
      }
      onClick={() => live.setOn(!live.isOn)}
    >
      <span className="w-live-dot" aria-hidden="true" />
      {words}
    </button>
  )
}
