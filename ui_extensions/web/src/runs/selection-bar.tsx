import type { ReactNode } from "react"

import { Button, IconButton } from "../controls/button"
import { count } from "../text/format"
import { MAX_PINS } from "../view/document"
import { setShown, solo } from "./eye"
import { useWorkspace } from "./workspace-context"

/** How the runs that are selected are shown; there while some are. */
export function SelectionBar({ first, children }: { first?: ReactNode; children?: ReactNode }) {
  const { view, list, selection, firstIds } = useWorkspace()
  const { doc, update } = view
  const ids = [...selection.ids]
  if (ids.length === 0) return null
  const setEye = (shows: boolean): void => {
    const runs = ids.map((id) => ({ id, status: list.row(id)?.status ?? "" }))
    update({ eye: setShown(doc.eye, runs, shows, firstIds) })
  }
  return (
    <div className="w-bulk" role="toolbar" aria-label="Selected runs">
      <span className="w-bulk-n" role="status">
        {count(ids.length)} selected
      </span>
      {first}
      <IconButton icon="eye" label="Draw them" isSmall onClick={() => setEye(true)} />
      <IconButton icon="eyeOff" label="Hide them" isSmall onClick={() => setEye(false)} />
      <Button isSmall onClick={() => update({ eye: solo(ids) })}>
        Only these
      </Button>
      <IconButton
        icon="pin"
        label="Pin them"
        isSmall
        onClick={() => update({ pins: [...new Set([...doc.pins, ...ids])].slice(-MAX_PINS) })}
      />
      {children}
      <IconButton icon="close" label="Select none" isSmall onClick={() => selection.set([])} />
    </div>
  )
}
