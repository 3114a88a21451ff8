/** What is said of single panels: a panel is meant by its name, which a comment quotes. */

import { createContext, useContext } from "react"

import { Button } from "../controls/button"
import { count } from "../text/format"
import { visible } from "../text/visible"
import type { Node, Panel } from "./document"
import { PANEL_WORDS, panelsOf } from "./document"

/** Begins a quote that is a panel's name rather than words of the text. */
const MARK = "▦ "
const MAX_NAME = 200

export interface Remarks {
  /** How much is said of a panel and not settled, by the panel's name. */
  readonly counts: ReadonlyMap<string, number>
  /** Begin a comment on a panel, or show what is said of it. */
  readonly about: (name: string) => void
}

/** Null where nobody comments: in the editor, and for visitors of links. */
export const RemarksContext = createContext<Remarks | null>(null)

const Names = createContext<ReadonlyMap<Panel, string>>(new Map())
export const PanelNames = Names.Provider

/** The name of each panel, as comments quote it; panels of one title are numbered. */
export function panelNames(document: Node): ReadonlyMap<Panel, string> {
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

/** Say whether a quote may be a panel's name. */
export function isPanelName(quote: string): boolean {
  return quote.startsWith(MARK)
}

/** Bring the panel of a name into view; nothing where it is gone, or called otherwise by now. */
export function showPanel(name: string, names: ReadonlyMap<Panel, string>): void {
  const at = [...names.values()].indexOf(name)
  document.querySelectorAll(".w-report-body .w-panel")[at]?.scrollIntoView({ block: "center" })
}

/** In a panel's head: how much is said of it, and the way to say more. */
export function RemarkButton({ panel }: { panel: Panel }) {
  const remarks = useContext(RemarksContext)
  const name = useContext(Names).get(panel)
  if (remarks === null || name === undefined) return null
  const n = remarks.counts.get(name) ?? 0
  const words = n === 0 ? "Comment" : n === 1 ? "1 comment" : `${count(n)} comments`
  return (
    <Button
      isSmall
      kind="quiet"
      className="w-off-paper"
      aria-label={`${words} on ${visible(name.slice(MARK.length), MAX_NAME)}`}
      onClick={() => remarks.about(name)}
    >
      {words}
    </Button>
  )
}
