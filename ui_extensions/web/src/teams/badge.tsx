import "./badge.css"

import { useMemo, useState } from "react"

import { Button } from "../controls/button"
import { Icon } from "../controls/icon"
import { later } from "../controls/later"
import { LaterDialog } from "../controls/later-dialog"
import { route, setQuery, useRoute } from "../router"
import { useVisibility, wordOf } from "./visibility"

const VisibilityDialog = later(async () => (await import("./dialog")).VisibilityDialog)

/** MLflow's page leads here with this in the query: the dialog is open then. */
const ASKED = "visibility"

/** Who may see an experiment, beside its name; a click says more, and changes it. */
export function VisibilityBadge({
  experimentId,
  name,
  isLed = false,
}: {
  experimentId: string
  name: string
  /** A link may have led straight into the dialog. */
  isLed?: boolean
}) {
  const seen = useVisibility(useMemo(() => [experimentId], [experimentId]))
  const { query } = useRoute()
  const isAsked = isLed && query.has(ASKED)
  const [isOpen, open] = useState(false)
  const found = wordOf(seen.data, experimentId)
  if (found === null || seen.data === null) return null
  const close = (): void => {
    open(false)
    if (!isAsked) return
    const next = new URLSearchParams(route().query)
    next.delete(ASKED)
    setQuery(next)
  }
  return (
    <>
      <Button
        isSmall
        kind="quiet"
        className="w-seen-badge"
        title={found.means}
        aria-haspopup="dialog"
        onClick={() => open(true)}
      >
        <Icon name={found.icon} /> {found.word}
      </Button>
      {(isOpen || isAsked) && (
        <LaterDialog title="Who may see it" onClose={close}>
          <VisibilityDialog seen={seen.data} experimentId={experimentId} name={name} onClose={close} />
        </LaterDialog>
      )}
    </>
  )
}
