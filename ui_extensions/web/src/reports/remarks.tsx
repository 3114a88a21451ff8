/** What is said of single panels: of the one with an id, or, in older comments, with a name. */

import { createContext, useContext } from "react"

import { Button } from "../controls/button"
import { count } from "../text/format"
import { visible } from "../text/visible"
import type { Comment } from "./api"
import type { Node, Panel } from "./document"
import { PANEL_WORDS, panelsOf } from "./document"

/** Begins a quote that is a panel's name rather than words of the text. */
const MARK = "▦ "
const MAX_NAME = 200

export interface Remarks {
  /** How much is said of each panel and not settled. */
  readonly counts: ReadonlyMap<Panel, number>
  /** Begin a comment on a panel, or show what is said of it. */
  readonly about: (panel: Panel) => void
}

/** Null where nobody comments: in the editor, and for visitors of links. */
export const RemarksContext = createContext<Remarks | null>(null)

export type Names = ReadonlyMap<Panel, string>
const NamesContext = createContext<Names>(new Map())
export const PanelNames = NamesContext.Provider

/** The name of each panel, as comments quote it; panels of one title are numbered. */
export function panelNames(document: Node): Names {
  const seen = new Map<string, number>()
  return new Map(
    panelsOf(document).map((panel) => {
      const title = MARK + (panel.title || PANEL_WORDS[panel.kind]).slice(0, MAX_NAME)
      const n = (seen.get(title) ?? 0) + 1
      seen.set(title, n)
      return [panel, n === 1 ? title : `${title} (${n})`]
    }),
  )
}

/** The panel that a comment is on; null where it is on none, or on one that is gone. */
export function panelOfComment({ panel: id, quote }: Comment, names: Names): Panel | null {
  // Without an id it is from before panels had some, and means the one that is called so.
  const isIt = id === null ? (_: Panel, name: string) => name === quote : (panel: Panel) => panel.id === id
  return [...names].find(([panel, name]) => isIt(panel, name))?.[0] ?? null
}

/** How much is said of each panel and not settled. */
export function countsOf(all: readonly Comment[] | null, names: Names): ReadonlyMap<Panel, number> {
  const found = new Map<Panel, number>()
  for (const one of all ?? []) {
    const panel = one.resolved_ms === null ? panelOfComment(one, names) : null
    if (panel !== null) found.set(panel, (found.get(panel) ?? 0) + 1)
  }
  return found
}

/** Bring a panel into view. */
export function showPanel(panel: Panel, names: Names): void {
  const at = [...names.keys()].indexOf(panel)
  document.querySelectorAll(".w-report-body .w-panel")[at]?.scrollIntoView({ block: "center" })
}

/** In a panel's head: how much is said of it, and the way to say more. */
export function RemarkButton({ panel }: { panel: Panel }) {
  const remarks = useContext(RemarksContext)
  const name = useContext(NamesContext).get(panel)
  if (remarks === null || name === undefined) return null
  const n = remarks.counts.get(panel) ?? 0
  const words = n === 0 ? "Comment" : n === 1 ? "1 comment" : `${count(n)} comments`
  return (
    <Button
      isSmall
      kind="quiet"
      className="w-off-paper"
      aria-label={`${words} on ${visible(name.slice(MARK.length), MAX_NAME)}`}
      onClick={() => remarks.about(panel)}
    >
      {words}
    </Button>
  )
}
