/** Lets the charts below lead into a report; the dialog is fetched when it is asked for. */

import type { ReactNode } from "react"
import { useCallback, useRef, useState } from "react"

import { AddToReport } from "../charts/to-report"
import type { CardLayout } from "../charts/types"
import { later } from "../controls/later"
import { LaterDialog } from "../controls/later-dialog"
import type { RunSet } from "./document"

const AddDialog = later(async () => (await import("./add-dialog")).AddDialog)

export interface AddedRuns {
  readonly label: string
  readonly runs: RunSet
}

export function WithReports({
  mayEdit,
  sets,
  clockMs = 0,
  children,
}: {
  mayEdit: boolean
  /** Which runs the charts show, asked for when the dialog opens. */
  sets: () => readonly AddedRuns[]
  /** The server's clock minus the browser's. */
  clockMs?: number
  children: ReactNode
}) {
  const [asked, ask] = useState<{ card: CardLayout; sets: readonly AddedRuns[] } | null>(null)
  const latest = useRef(sets)
  latest.current = sets
  // The same for ever: every chart below has it.
  const open = useCallback((card: CardLayout) => ask({ card, sets: latest.current() }), [])
  return (
    <AddToReport.Provider value={mayEdit ? open : null}>
      {children}
      {asked && (
        <LaterDialog title="Add to report" onClose={() => ask(null)}>
          <AddDialog {...asked} nowMs={Math.round(Date.now() + clockMs)} onClose={() => ask(null)} />
        </LaterDialog>
      )}
    </AddToReport.Provider>
  )
}
