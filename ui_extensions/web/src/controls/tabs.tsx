import type { KeyboardEvent, ReactNode } from "react"
import { useEffect, useRef } from "react"

export interface Tab<T extends string> {
  id: T
  label: string
  /** Beside the label, such as a count. */
  extra?: ReactNode
  /** Where the tab leads when it is opened in a new browser tab. */
  href: string
}

/** Tabs that are links: a click shows another panel, a middle click opens it elsewhere. */
export function Tabs<T extends string>({
  label,
  tabs,
  selected,
  onSelect,
  panelId,
}: {
  label: string
  tabs: readonly Tab<T>[]
  selected: T
  onSelect: (id: T) => void
  panelId: string
}) {
  const list = useRef<HTMLDivElement>(null)
  // Where there is no room for all, the one that is open is in sight.
  useEffect(() => {
    const shown = list.current?.querySelector<HTMLElement>("[aria-selected=true]")
    if (!list.current || !shown) return
    const over = shown.offsetLeft + shown.offsetWidth - list.current.clientWidth
    list.current.scrollLeft = Math.max(0, over + 16)
  }, [selected])
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>): void => {
    const at = tabs.findIndex((tab) => tab.id === selected)
    const last = tabs.length - 1
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[
      event.key
    ]
    const tab = to === undefined ? undefined : tabs[to]
    if (!tab || to === undefined) return
    event.preventDefault()
    const links = event.currentTarget.querySelectorAll<HTMLElement>("[role=tab]")
    onSelect(tab.id)
    links[to]?.focus()
  }
  return (
    <div ref={list} className="w-tabs" role="tablist" aria-label={label} onKeyDown={onKeyDown}>
      {tabs.map((tab) => (
        <a
          key={tab.id}
          role="tab"
          id={`${panelId}-${tab.id}`}
          className="w-tab"
          href={tab.href}
          aria-selected={tab.id === selected}
          aria-controls={tab.id === selected ? panelId : undefined}
          tabIndex={tab.id === selected ? 0 : -1}
          onClick={(event) => {
            if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
            event.preventDefault()
            onSelect(tab.id)
          }}
        >
          {tab.label}
          {tab.extra}
        </a>
      ))}
    </div>
  )
}
