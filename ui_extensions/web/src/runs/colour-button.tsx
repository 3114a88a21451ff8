import "./colour-button.css"

import { Button } from "../controls/button"
import { Popover } from "../controls/menu"
import { count } from "../text/format"
import { ColumnSelect } from "./column-picker"
import { columnTitle } from "./columns"
import { setShown } from "./eye"
import { RunDot } from "./row"
import { useWorkspace } from "./workspace-context"

/** By which column runs are coloured; each has a colour of its own where it is none. */
export function ColourButton() {
  const { view, isTable } = useWorkspace()
  const { colourBy } = view.doc
  const title = colourBy === "" ? "Colour" : `Colour: ${columnTitle(colourBy)}`
  return (
    <Popover
      label="Colour"
      button={{
        icon: "drop",
        isSmall: true,
        id: "w-colour-button",
        "aria-pressed": colourBy !== "",
        "aria-label": title,
        title,
        children: isTable && <span className="w-cut">{title}</span>,
      }}
    >
      {(close) => (
        <div className="w-group-box">
          <ColumnSelect
            label="Colour by"
            value={colourBy}
            withAggregates
            onChange={(name) => view.update({ colourBy: name })}
          />
          {colourBy === "" ? (
            <p className="w-hint">Each run has a colour of its own, the same on every page.</p>
          ) : (
            <Button
              isSmall
              onClick={() => {
                view.update({ colourBy: "" })
                close()
              }}
            >
              Each run its own colour
            </Button>
          )}
        </div>
      )}
    </Popover>
  )
}

/** What the colours mean; a click draws those runs, or takes them away. */
export function ColourLegend() {
  const { view, list, colouring, isShown, firstIds } = useWorkspace()
  const { doc, update } = view
  if (colouring === null || doc.groupBy.length > 0) return null
  const statusOf = (id: string): string => list.row(id)?.status ?? ""
  return (
    <ul className="w-colour-legend" aria-label={`Colours by ${colouring.title}`}>
      {colouring.classes.map((one) => {
        const isOn = one.runIds.some((id) => isShown(id, statusOf(id)))
        const runs = one.runIds.map((id) => ({ id, status: statusOf(id) }))
        return (
          <li key={one.key}>
            <button
              type="button"
              className="w-colour-class"
              aria-pressed={isOn}
              title={`${isOn ? "Hide" : "Draw"} ${count(runs.length)} ${runs.length === 1 ? "run" : "runs"}: ${one.label}`}
              onClick={() => update({ eye: setShown(doc.eye, runs, !isOn, firstIds) })}
            >
              <RunDot colour={one.colour} dash={one.dash} isShown={isOn} />
              <span className="w-cut" dir="auto">
                {one.label}
              </span>
              <span className="w-colour-n">{count(runs.length)}</span>
            </button>
          </li>
        )
      })}
    </ul>
  )
}
