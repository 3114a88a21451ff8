import type { KeyboardEvent, ReactNode } from "react"
import { useEffect, useId, useRef, useState } from "react"

import type { ButtonProps } from "./button"
import { Button } from "./button"
import { Icon } from "./icon"
import type { IconName } from "./icon"

export interface MenuItem {
  label: string
  icon?: IconName
  /** Marks one of some choices; shown as a tick, told as `aria-checked`. */
  isChecked?: boolean
  isDisabled?: boolean
  /** Draw a line above it. */
  isFirstOfGroup?: boolean
  onSelect: () => void
}

/** Put a box of the top layer beside its anchor, inside the window. */
export function placeBeside(box: HTMLElement, anchor: Element, align: "start" | "end"): void {
  const at = anchor.getBoundingClientRect()
  const { width, height } = box.getBoundingClientRect()
  const wanted = align === "start" ? at.left : at.right - width
  const below = at.bottom + 4 + height <= innerHeight || at.top < height + 4
  box.style.left = `${Math.max(8, Math.min(wanted, innerWidth - width - 8))}px`
  box.style.top = `${Math.max(8, below ? Math.min(at.bottom + 4, innerHeight - height - 8) : at.top - 4 - height)}px`
}

/**
 * A button that opens a box beside it: closed by Escape, by a click elsewhere, and by `close`.
 * The focus goes into it, and back to the button.
 */
export function Popover({
  label,
  button,
  align = "start",
  role = "dialog",
  children,
  onKeyDown,
}: {
  label: string
  button: Omit<ButtonProps, "onClick">
  align?: "start" | "end"
  role?: "dialog" | "menu"
  children: (close: () => void) => ReactNode
  onKeyDown?: (event: KeyboardEvent<HTMLDivElement>) => void
}) {
  const id = useId()
  const [isOpen, setOpen] = useState(false)
  const anchor = useRef<HTMLButtonElement>(null)
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const shown = box.current
    if (!isOpen || !shown || !anchor.current) return
    shown.showPopover?.()
    placeBeside(shown, anchor.current, align)
    const first = shown.querySelector<HTMLElement>(
      "[role=menuitem]:enabled,[role=menuitemradio]:enabled,input,select,textarea,button,a[href]",
    )
    first?.focus()
    // Light dismissal (Escape, a click elsewhere) is the browser's.
    const onToggle = (event: Event): void => {
      if ((event as ToggleEvent).newState === "closed") setOpen(false)
    }
    shown.addEventListener("toggle", onToggle)
    return () => shown.removeEventListener("toggle", onToggle)
  }, [isOpen, align])
  const close = (): void => {
    setOpen(false)
    anchor.current?.focus()
  }
  return (
    <>
      <Button
        ref={anchor}
        aria-haspopup={role}
        aria-expanded={isOpen}
        aria-controls={isOpen ? id : undefined}
        {...button}
        onClick={() => setOpen((open) => !open)}
      />
      {isOpen && (
        <div
          ref={box}
          id={id}
          role={role}
          aria-label={label}
          popover="auto"
          className="w-menu"
          onKeyDown={onKeyDown}
        >
          {children(close)}
        </div>
      )}
    </>
  )
}

/** A menu of actions or choices: arrows, Home, End and first letters move in it. */
export function Menu({
  label,
  button,
  items,
  align = "end",
}: {
  label: string
  button: Omit<ButtonProps, "onClick">
  items: readonly MenuItem[]
  align?: "start" | "end"
}) {
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>): void => {
    const all = [...event.currentTarget.querySelectorAll<HTMLButtonElement>("button:enabled")]
    const at = all.indexOf(document.activeElement as HTMLButtonElement)
    const letter = event.key.length === 1 ? event.key.toLowerCase() : null
    const to =
      event.key === "ArrowDown"
        ? (at + 1) % all.length
        : event.key === "ArrowUp"
          ? (at - 1 + all.length) % all.length
          : event.key === "Home"
            ? 0
            : event.key === "End"
              ? all.length - 1
              : letter
                ? all.findIndex((one) => one.textContent?.toLowerCase().startsWith(letter))
                : -1
    if (to < 0) return
    event.preventDefault()
    all[to]?.focus()
  }
  return (
    <Popover label={label} button={button} align={align} role="menu" onKeyDown={onKeyDown}>
      {(close) =>
        items.map((item) => (
          <div key={item.label} role="none">
            {item.isFirstOfGroup && <hr className="w-menu-line" />}
            <button
              type="button"
              className="w-menu-item"
              role={item.isChecked === undefined ? "menuitem" : "menuitemradio"}
              aria-checked={item.isChecked}
              disabled={item.isDisabled}
              onClick={() => {
                close()
                item.onSelect()
              }}
            >
              {item.isChecked !== undefined && (
                <span className="w-menu-tick">{item.isChecked && <Icon name="check" />}</span>
              )}
              {item.icon && <Icon name={item.icon} />}
              {item.label}
            </button>
          </div>
        ))
      }
    </Popover>
  )
}
