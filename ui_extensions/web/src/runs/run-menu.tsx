import { useMemo } from "react"

import { goStock } from "../router"
import { useTheme } from "../theme"
import { STOCK_COLOURS, runColour } from "./colour"
import type { Choice, RowMenuProps } from "./row-menu"
import { RowMenu, useViewChoices } from "./row-menu"
import { useRunActions } from "./run-actions"
import { useWorkspace } from "./workspace-context"

/** What can be done with one run, beside its row. */
export function RunMenu({ id, anchor, onClose }: RowMenuProps) {
  const { list, tell } = useWorkspace()
  const { act, edit } = useRunActions()
  const theme = useTheme()
  const looking = useViewChoices(id)
  const row = list.row(id)
  const stop = async (): Promise<void> => {
    await act([id], "tag", { key: "weir.stop_requested", value: new Date().toISOString() })
    tell({ text: "Asked to stop: its process gets SIGINT from Weir’s agent in some ten seconds" })
  }
  const changing = useMemo<readonly Choice[]>(() => {
    if (!row) return []
    const isDeleted = row.stage === "deleted"
    return [
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
  }, [act, edit, id, row])
  if (!row) return null
  const chosen = runColour(row, theme)
  return (
    <RowMenu anchor={anchor} onClose={onClose} row={row} choices={[...looking, ...changing]}>
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
    </RowMenu>
  )
}
