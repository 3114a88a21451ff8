import type { KeyboardEvent, ReactNode } from "react"
import { useEffect, useId, useRef, useState } from "react"

import type { IconName } from "./icon"
import { Icon } from "./icon"

/** Something to choose. */
export interface Choice {
  readonly id: string
  readonly label: string
  readonly icon?: IconName
  /** Said behind the label, in grey. */
  readonly about?: string
  /** Right behind the label, such as who may see what it names. */
  readonly beside?: ReactNode
  /** Of those that belong together the first one has a heading above it. */
  readonly group?: string
}

/** A text field with what it finds below: arrows go through it, Enter chooses, Escape closes. */
export function Combobox<T extends Choice>({
  label,
  text,
  onText,
  choices,
  onChoose,
  isAlwaysOpen = false,
  note,
  className = "",
}: {
  label: string
  text: string
  onText: (text: string) => void
  choices: readonly T[]
  onChoose: (choice: T) => void
  /** The list is there without focus too, such as in a dialog of its own. */
  isAlwaysOpen?: boolean
  /** Below the list: that it is being asked for, or that there is nothing. */
  note?: ReactNode
  className?: string
}) {
  const id = useId()
  const box = useRef<HTMLDivElement>(null)
  const [isOpened, setOpened] = useState(false)
  const [at, setAt] = useState(0)
  const isOpen = isAlwaysOpen || isOpened
  const chosen = choices[Math.min(at, choices.length - 1)]
  const choose = (choice: T): void => {
    setOpened(false)
    onChoose(choice)
  }
  useEffect(() => setAt(0), [text])
  useEffect(() => {
    if (!isOpen) return
    const shown = box.current?.querySelector('[aria-selected="true"]')
    shown?.scrollIntoView({ block: "nearest" })
  }, [isOpen, chosen?.id])
  const onKeyDown = (event: KeyboardEvent): void => {
    const last = choices.length - 1
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key]
    if (by !== undefined) {
      event.preventDefault()
      setOpened(true)
      const from = Math.min(at, last)
      // One beyond an end comes in at the other; a page stops there.
      const to = Math.abs(by) === 1 ? (from + by + last + 1) % (last + 1) : from + by
      setAt(Math.max(0, Math.min(last, to)))
    } else if (event.key === "Enter") {
      if (!isOpen || !chosen) return
      event.preventDefault()
      choose(chosen)
    } else if (event.key === "Escape" && isOpened && !isAlwaysOpen) {
      event.preventDefault()
      event.stopPropagation()
      setOpened(false)
    }
  }
  return (
    <div
      ref={box}
      className={`w-combobox ${className}`}
      onBlur={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget)) setOpened(false)
      }}
    >
      <Icon name="search" />
      <input
        type="text"
        role="combobox"
        className="w-input"
        aria-label={label}
        aria-expanded={isOpen}
        aria-controls={`${id}list`}
        aria-autocomplete="list"
        aria-activedescendant={isOpen && chosen ? `${id}${chosen.id}` : undefined}
        placeholder={label}
        autoComplete="off"
        spellCheck={false}
        value={text}
        onFocus={() => setOpened(true)}
        onClick={() => setOpened(true)}
        onChange={(event) => {
          setOpened(true)
          onText(event.target.value)
        }}
        onKeyDown={onKeyDown}
      />
      <div className="w-combobox-drop" hidden={!isOpen}>
        <div id={`${id}list`} role="listbox" aria-label={label} className="w-combobox-list">
          {choices.map((choice, place) => (
            <div key={choice.id} role="presentation">
              {choice.group && choice.group !== choices[place - 1]?.group && (
                <div className="w-combobox-group" role="presentation">
                  {choice.group}
                </div>
              )}
              {/* By keyboard: the field above, which keeps the focus. */}
              <div
                id={`${id}${choice.id}`}
                role="option"
                aria-selected={choice === chosen}
                className="w-combobox-one"
                onPointerDown={(event) => event.preventDefault()}
                onClick={() => choose(choice)}
              >
                {choice.icon && <Icon name={choice.icon} />}
                <span className="w-cut" title={choice.label} dir="auto">
                  {choice.label}
                </span>
                {choice.beside}
                {choice.about && <span className="w-combobox-about">{choice.about}</span>}
              </div>
            </div>
          ))}
        </div>
        {note && (
          <div className="w-combobox-note" role="status">
            {note}
          </div>
        )}
      </div>
    </div>
  )
}
