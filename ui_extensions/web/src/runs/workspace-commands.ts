/** What the palette offers in a workspace. */

import type { Command } from "../palette/commands"
import { go } from "../router"
import { visible } from "../text/visible"
import { EVERYTHING } from "../view/document"
import type { View } from "../view/store"
import { onlyMine } from "./only-mine"
import type { WorkspaceState } from "./workspace-context"

function press(id: string): void {
  // The palette gives the focus back first.
  window.setTimeout(() => {
    const element = document.getElementById(id)
    if (element instanceof HTMLButtonElement) element.click()
    else element?.focus()
  })
}

/** The workspace's own actions, and its named views. */
export function workspaceCommands(
  state: WorkspaceState,
  view: View,
  onKeys: () => void,
): Command[] {
  const { list, isTable, experimentIds, selection } = state
  const { doc, update } = view
  const place = { page: "workspace" as const, experimentIds: [...experimentIds] }
  const ids = [...selection.ids]
  const mine = onlyMine(state)
  return [
    {
      label: isTable ? "Show the charts" : "Show the runs as a table",
      run: () => update({ side: { ...doc.side, isTable: !isTable, isClosed: false } }),
    },
    { label: "Search runs", about: "/", run: () => press("w-runs-search") },
    { label: "Filter runs", about: "f", run: () => press("w-filter-button") },
    { label: "Group runs", about: "g", run: () => press("w-group-button") },
    { label: "Colour runs", run: () => press("w-colour-button") },
    { label: "Search charts", about: "c", run: () => press("w-chart-search") },
    { label: "Draw all runs", about: "a", run: () => update({ eye: EVERYTHING }) },
    {
      label: doc.hidesCrashed ? "List failed and killed runs" : "Hide failed and killed runs",
      run: () => update({ hidesCrashed: !doc.hidesCrashed }),
    },
    ...(mine ? [mine] : []),
    {
      label: list.live.isOn ? "Freeze what is shown" : "Follow what happens",
      about: ".",
      run: () => list.live.setOn(!list.live.isOn),
    },
    ...(ids.length > 1
      ? [
          {
            label: "Compare the selected runs",
            run: () =>
              go(
                { page: "compare" as const, experimentIds: [...experimentIds] },
                new URLSearchParams({ runs: ids.slice(0, 50).join(",") }),
              ),
          },
        ]
      : []),
    ...(view.canUndo ? [{ label: "Undo", about: "Ctrl Z", run: view.undo }] : []),
    ...(view.canRedo ? [{ label: "Redo", about: "Ctrl Shift Z", run: view.redo }] : []),
    ...view.views.map((one) => ({
      label: `View: ${visible(one.name, 60)}`,
      run: () => go(place, new URLSearchParams({ v: `${one.id}@${one.revision}` })),
    })),
    { label: "Keys", about: "?", run: onKeys },
  ]
}
