import { useEffect, useMemo, useRef } from "react"

import { placeBeside } from "../controls/menu"
import { goStock } from "../router"
import { visible } from "../text/visible"
import { useTheme } from "../theme"
import { STOCK_COLOURS, runColour } from "./colour"
import { isSolo, solo } from "./eye"
import { togglePin } from "./table"
import { useWorkspace } from "./workspace-context"
import { EVERYTHING } from "../view/document"

interface Choice {
  readonly label: string
  readonly key?: string
  readonly isDangerous?: boolean
  readonly onSelect: () => void
}

/** What can be done with one run, beside its row. */
export function RunMenu({
  id,
  anchor,
  onClose,
}: {
  id: string
  anchor: HTMLElement
  onClose: () => void
}) {
  const { view, list, act, edit, selection, tell } = useWorkspace()
  const { doc, update } = view
  const theme = useTheme()
  const box = useRef<HTMLDivElement>(null)
  const row = list.row(id)
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
  const stop = async (): Promise<void> => {
    await act([id], "tag", { key: "weir.stop_requested", value: new Date().toISOString() })
    tell({ text: "Asked to stop: its process gets SIGINT from Weir’s agent in some ten seconds" })
  }
  const choices = useMemo<readonly Choice[]>(() => {
    if (!row) return []
    const isDeleted = row.stage === "deleted"
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
      { label: "Name, notes and tags…", onSelect: () => edit(row) },
      {
        label: "Open in MLflow",
        onSelect: () => goStock(`/experiments/${row.experiment}/runs/${row.id}`),
      },
      ...(row.status === "RUNNING"
        ? [
            {
              label: "Stop (as Ctrl C would)",
              isDangerous: true,
              onSelect: () => void stop(),
            },
          ]
        : []),
      isDeleted
        ? { label: "Restore", onSelect: () => void act([id], "restore") }
        : { label: "Delete", isDangerous: true, onSelect: () => void act([id], "delete") },
    ]
  }, [act, doc, edit, id, row, selection, update])
  if (!row) return null
  const chosen = runColour(row, theme)
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
      <div className="w-colours" role="group" aria-label="Colour of the run">
        {STOCK_COLOURS.map((colour) => (
          <button
            key={colour}
            type="button"
            role="menuitemradio"
            aria-checked={colour === chosen}
            aria-label={`Colour ${colour}`}
            className="w-colour"
            style={{ background: colour }}
            onClick={() => {
              onClose()
              list.amend(id, { colour })
              void act([id], "tag", { key: "mlflow.runColor", value: colour })
            }}
          />
        ))}
      </div>
    </div>
  )
}
