/** Numbers are shown short; what is copied of them is exact. */

import type { ClipboardEvent } from "react"

const CELL = "[data-exact]"

/**
 * Put exact values on the clipboard, where the selection is of cells that name theirs in
 * `data-exact`: one value, or rows of them divided by tabs, as a spreadsheet takes them.
 */
export function copyExact(event: ClipboardEvent<HTMLTableElement>): void {
  const table = event.currentTarget
  const selection = getSelection()
  if (!selection || selection.isCollapsed) return
  const range = selection.getRangeAt(0)
  // What goes beyond the table is copied as it stands.
  if (!table.contains(range.commonAncestorContainer)) return
  const rows = [...table.rows].map((row) => [...row.cells].filter((cell) => range.intersectsNode(cell)))
  if (!rows.flat().some((cell) => cell.matches(CELL))) return
  const lines = rows
    .filter((cells) => cells.length > 0)
    .map((cells) => cells.map((cell) => cell.dataset.exact ?? cell.innerText).join("\t"))
  event.clipboardData.setData("text/plain", lines.join("\n"))
  event.preventDefault()
}
