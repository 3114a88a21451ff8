import { useEffect, useState } from "react"

import { Button } from "../controls/button"
import { later } from "../controls/later"
import { LaterDialog } from "../controls/later-dialog"
import { route, setQuery, useRoute } from "../router"
import type { Scope } from "./draft"

const ShareDialog = later(async () => (await import("./dialog")).ShareDialog)
const RefusedDialog = later(async () => (await import("./dialog")).RefusedDialog)

/** MLflow's page leads here with this in the query: the dialog is open then. */
const ASKED = "share"

/** Opens the dialog that makes a link, for who may. */
export function ShareButton({
  mayShare,
  scopes,
  isReady = true,
  isLed = false,
}: {
  mayShare: boolean
  /** Asked for when the dialog opens: what is shared stays that, whatever happens behind it. */
  scopes: () => readonly Scope[]
  /** What there is to share is known. */
  isReady?: boolean
  /** A link may have led straight into the dialog. */
  isLed?: boolean
}) {
  const { query } = useRoute()
  const isAsked = isLed && isReady && query.has(ASKED)
  const [opened, open] = useState<readonly Scope[] | null>(null)
  useEffect(() => {
    if (isAsked) open(scopes())
  }, [isAsked])
  const close = (): void => {
    open(null)
    if (!isAsked) return
    const next = new URLSearchParams(route().query)
    next.delete(ASKED)
    setQuery(next)
  }
  return (
    <>
      {mayShare && (
        <Button icon="share" isSmall className="w-share-button" disabled={!isReady} onClick={() => open(scopes())}>
          Share
        </Button>
      )}
      {opened !== null && (
        <LaterDialog title="Share" onClose={close}>
          {mayShare ? (
            <ShareDialog scopes={opened} onClose={close} />
          ) : (
            <RefusedDialog onClose={close} />
          )}
        </LaterDialog>
      )}
    </>
  )
}
