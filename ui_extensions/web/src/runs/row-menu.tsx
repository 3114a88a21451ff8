import type { ReactNode } from "react"
import { useEffect, useRef } from "react"

import { placeBeside } from "../controls/menu"
import { visible } from "../text/visible"
import { EVERYTHING, MAX_PINS } from "../view/document"
import type { RunRow } from "./api"
import { isSolo, solo } from "./eye"
import { useWorkspace } from "./workspace-context"

export interface RowMenuProps {
  readonly id: string
  readonly anchor: HTMLElement
  readonly onClose: () => void
}

export interface Choice {
  readonly label: string
  readonly key?: string
  readonly isDangerous?: boolean
  readonly onSelect: () => void
}

export function togglePin(pins: readonly string[], id: string): string[] {
  return pins.includes(id) ? pins.filter((one) => one !== id) : [...pins, id].slice(-MAX_PINS)
}

/** What can be done with one run without changing it. */
export function useViewChoices(id: string): readonly Choice[] {
  const { view, selection } = useWorkspace()
  const { doc, update } = view
  return [
    {
      label: isSolo(doc.eye, id) ? "Draw all again" : "Draw this run alone",
      key: "s",
      onSelect: () => update({ eye: isSolo(doc.eye, id) ? EVERYTHING : solo([id]) }),
    },
    {
      label: doc.pins.includes(id) ? "Unpin" : "Pin to the top",
      key: "p",
      onSelect: () => update({ pins: togglePin(doc.pins, id) }),
    },
    {
      label: doc.baseline === id ? "No baseline" : "Use as baseline",
      key: "b",
      onSelect: () => update({ baseline: doc.baseline === id ? null : id }),
    },
    {
      label: selection.ids.has(id) ? "Take from the selection" : "Select",
      key: "v",
      onSelect: () => selection.toggle(id),
    },
  ]
}

/** The menu of one run, beside its row, for who only looks. */
export function ViewMenuOfRun(props: RowMenuProps) {
  const { list } = useWorkspace()
  const choices = useViewChoices(props.id)
  const row = list.row(props.id)
  return row ? <RowMenu {...props} row={row} choices={choices} /> : null
}

/** A menu beside a run's row. */
export function RowMenu({
  anchor,
  onClose,
  row,
  choices,
  children,
}: Omit<RowMenuProps, "id"> & {
  readonly row: RunRow
  readonly choices: readonly Choice[]
  /** Below the choices. */
  readonly children?: ReactNode
}) {
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const shown = box.current
    if (!shown) return
    shown.showPopover?.()
    placeBeside(shown, anchor, "start")
    shown.querySelector("button")?.focus()
    const onToggle = (event: Event): void => {
      if ((event as ToggleEvent).newState === "closed") onClose()
    }
    shown.addEventListener("toggle", onToggle)
    return () => shown.removeEventListener("toggle", onToggle)
    // Opened once, where it was asked for.
  }, [anchor])
  return (
    <div
      ref={box}
      role="menu"
      popover="auto"
      className="w-menu"
      aria-label={`Actions on ${visible(row.name, 80)}`}
      onKeyDown={(event) => {
        const all = [...event.currentTarget.querySelectorAll("button")]
        const at = all.indexOf(document.activeElement as HTMLButtonElement)
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
        if (step === undefined) return
        event.preventDefault()
        all[(at + step + all.length) % all.length]?.focus()
      }}
    >
      {choices.map((choice) => (
        <button
          key={choice.label}
          type="button"
          role="menuitem"
          className={`w-menu-item${choice.isDangerous ? " w-menu-danger" : ""}`}
          onClick={() => {
            onClose()
            choice.onSelect()
          }}
        >
          <span className="w-menu-words">{choice.label}</span>
          {choice.key && <kbd aria-hidden="true">{choice.key}</kbd>}
        </button>
      ))}
      {children}
    </div>
  )
}
