import { useEffect, useState } from "react"

import { IconButton } from "../controls/button"
import { Palette } from "./palette"

let open: (() => void) | null = null

/** The palette, opened by Ctrl K or ⌘ K wherever the focus is. One a page. */
export function PaletteHost() {
  const [isOpen, setOpen] = useState(false)
  useEffect(() => {
    open = () => setOpen(true)
    const onKey = (event: KeyboardEvent): void => {
      const isCalled = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey
      if (!isCalled || event.key.toLowerCase() !== "k") return
      event.preventDefault()
      setOpen((now) => !now)
    }
    window.addEventListener("keydown", onKey)
    return () => {
      open = null
      window.removeEventListener("keydown", onKey)
    }
  }, [])
  // Here at once: what is typed behind Ctrl K must not be taken for the page's keys.
  return isOpen ? <Palette onClose={() => setOpen(false)} /> : null
}

/** The same by a button. */
export function PaletteButton() {
  return <IconButton icon="search" label="Go to… (Ctrl K)" onClick={() => open?.()} />
}
