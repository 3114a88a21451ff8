import type { ReactElement } from "react"
import { cloneElement, useEffect, useId, useRef, useState } from "react"

/**
 * Words beside a control while the pointer or the focus is on it; they stay while the pointer is
 * on them, and Escape closes them. The control keeps its own accessible name.
 */
export function Tooltip({
  text,
  children,
}: {
  text: string
  children: ReactElement<Record<string, unknown>>
}) {
  const id = useId()
  const anchor = useRef<HTMLSpanElement>(null)
  const tip = useRef<HTMLDivElement>(null)
  const timer = useRef(0)
  const [isOpen, setOpen] = useState(false)

  useEffect(() => {
    const box = tip.current
    const of = anchor.current?.firstElementChild
    if (!isOpen || !box || !of) return
    box.showPopover?.()
    const at = of.getBoundingClientRect()
    const { width, height } = box.getBoundingClientRect()
    const left = Math.max(8, Math.min(at.left + at.width / 2 - width / 2, innerWidth - width - 8))
    const below = at.bottom + 6 + height < innerHeight
    box.style.left = `${left}px`
    box.style.top = `${below ? at.bottom + 6 : at.top - 6 - height}px`
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === "Escape") setOpen(false)
    }
    const close = (): void => setOpen(false)
    document.addEventListener("keydown", onKey)
    document.addEventListener("scroll", close, { capture: true, passive: true })
    return () => {
      document.removeEventListener("keydown", onKey)
      document.removeEventListener("scroll", close, { capture: true })
    }
  }, [isOpen])

  useEffect(() => () => window.clearTimeout(timer.current), [])

  const later = (open: boolean, ms: number): void => {
    window.clearTimeout(timer.current)
    timer.current = window.setTimeout(() => setOpen(open), ms)
  }
  return (
    <span
      ref={anchor}
      className="w-tip-anchor"
      onPointerEnter={() => later(true, 400)}
      onPointerLeave={() => later(false, 100)}
      onPointerDown={() => later(false, 0)}
      onFocus={(event) => {
        if (event.target.matches(":focus-visible")) later(true, 0)
      }}
      onBlur={() => later(false, 0)}
    >
      {cloneElement(children, isOpen ? { "aria-describedby": id } : {})}
      {isOpen && (
        <div
          ref={tip}
          id={id}
          role="tooltip"
          popover="manual"
          className="w-tip"
          onPointerEnter={() => later(true, 0)}
        >
          {text}
        </div>
      )}
    </span>
  )
}
