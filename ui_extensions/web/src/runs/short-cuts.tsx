import { useEffect, useRef, useState } from "react"

import { SMOOTHING_IDS } from "../charts/toolbar"
import { Dialog } from "../controls/dialog"
import type { Arrangement } from "../view/arrangement"
import type { LiveState } from "./data"

const STORED = "weir.letters"

function areLettersOn(): boolean {
  try {
    return localStorage.getItem(STORED) !== "off"
  } catch {
    return true
  }
}

interface Targets {
  readonly view: Arrangement
  readonly live: LiveState
  readonly onHelp: () => void
  readonly onAll: () => void
  readonly onNextAxis: () => void
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false
  return (
    target.isContentEditable ||
    /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) ||
    target.closest("dialog,[popover]") !== null
  )
}

function focus(id: string): void {
  const element = document.getElementById(id)
  if (element instanceof HTMLButtonElement) element.click()
  else element?.focus()
}

/** The page's keys; none of them while something is typed. */
export function useShortCuts(targets: Targets): void {
  const latest = useRef(targets)
  latest.current = targets
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const { view, live, onHelp, onAll, onNextAxis } = latest.current
      const isField = isTyping(event.target)
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !isField) {
        event.preventDefault()
        if (event.shiftKey) view.redo()
        else view.undo()
        return
      }
      if (isField || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
      const keys: Record<string, () => void> = {
        "?": onHelp,
        "/": () => focus("w-runs-search"),
        f: () => focus("w-filter-button"),
        g: () => focus("w-group-button"),
        c: () => focus("w-chart-search"),
        a: onAll,
        x: onNextAxis,
        m: () => focus(SMOOTHING_IDS.find((id) => document.getElementById(id)) ?? ""),
        ".": () => live.setOn(!live.isOn),
      }
      const act = keys[event.key]
      if (act === undefined || !areLettersOn()) return
      event.preventDefault()
      act()
    }
    window.addEventListener("keydown", onKey)
    return () => window.removeEventListener("keydown", onKey)
  }, [])
}

const KEYS: readonly (readonly [string, string])[] = [
  ["Ctrl K", "go to a run, an experiment, a chart, or do something"],
  ["/", "search runs"],
  ["f · g", "filter · group"],
  ["c", "search charts"],
  ["x · m", "next x axis · smoothing"],
  ["↑ ↓ · j k", "move in the list (its run is raised in the charts)"],
  ["Space · s · a", "eye · this run alone · all again"],
  ["v · Shift v", "select · select up to here"],
  ["p · b", "pin · baseline"],
  ["Enter · m", "in the list: open the run · its menu"],
  ["Ctrl Z · Ctrl Shift Z", "undo · redo"],
  ["Alt ← →", "on a column’s head: move the column (Shift: its width)"],
  ["← → · l · 0", "in a chart: move the cursor · logarithmic y · whole range"],
  [".", "live or frozen"],
  ["Esc", "close what is open, clear the search"],
]

/** The keys, and the switch that keeps single letters from meaning anything. */
export function ShortCuts({ onClose }: { onClose: () => void }) {
  const [isOn, setOn] = useState(areLettersOn)
  return (
    <Dialog title="Keys" onClose={onClose}>
      <table className="w-keys">
        <tbody>
          {KEYS.map(([keys, does]) => (
            <tr key={keys}>
              <th scope="row">
                <kbd>{keys}</kbd>
              </th>
              <td>{does}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <label className="w-check">
        <input
          type="checkbox"
          checked={isOn}
          onChange={(event) => {
            setOn(event.target.checked)
            try {
              localStorage.setItem(STORED, event.target.checked ? "on" : "off")
            } catch {
              // Without storage it holds as long as the page.
            }
          }}
        />
        Single keys work
      </label>
    </Dialog>
  )
}
