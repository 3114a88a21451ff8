import type { ReactNode } from "react"
import { useEffect, useId, useRef } from "react"

import { IconButton } from "./button"

/** A dialog: the browser's own, which keeps the focus inside and gives it back. */
export function Dialog({
  title,
  isWide = false,
  className = "",
  onClose,
  footer,
  children,
}: {
  title: string
  isWide?: boolean
  className?: string
  onClose: () => void
  footer?: ReactNode
  children: ReactNode
}) {
  const id = useId()
  const box = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const shown = box.current
    if (shown && !shown.open) shown.showModal?.()
    return () => shown?.close?.()
  }, [])
  return (
    <dialog
      ref={box}
      className={`w-dialog${isWide ? " w-dialog-wide" : ""} ${className}`.trim()}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
    >
      <div className="w-dialog-head">
        <h2 id={id}>{title}</h2>
        <IconButton icon="close" label="Close" onClick={onClose} />
      </div>
      <div className="w-dialog-body">{children}</div>
      {footer && <div className="w-dialog-foot">{footer}</div>}
    </dialog>
  )
}
