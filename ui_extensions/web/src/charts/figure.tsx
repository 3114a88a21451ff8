/**
 * A drawing with a mark for each run: the one under the pointer, or at the keyboard's place, is
 * raised on all charts and told of beside it.
 */

import type { KeyboardEvent, PointerEvent, ReactNode } from "react"
import { useEffect, useMemo, useRef, useState } from "react"

import { NAME_LENGTH, visible } from "../text/visible"
import { keepDrawing } from "./drawings"
import { svgOfFigure } from "./figure-files"
import { hoverState } from "./hover"
import type { DrawnRun } from "./types"

export interface Mark {
  readonly run: DrawnRun
  /** Where it is told of, in px of the drawing. */
  readonly x: number
  readonly y: number
  /** What it stands for: names and values. */
  readonly facts: readonly (readonly [string, string])[]
}

const NEAR_PX = 24

/** The mark nearest to a place, or -1 where none is near. */
export function nearestMark(marks: readonly Mark[], x: number, y: number): number {
  let found = -1
  let best = NEAR_PX ** 2
  marks.forEach((mark, at) => {
    const distance = (mark.x - x) ** 2 + (mark.y - y) ** 2
    if (distance < best) {
      best = distance
      found = at
    }
  })
  return found
}

export function Figure({
  kind,
  title,
  summary,
  width,
  height,
  marks,
  near = nearestMark,
  drawing,
  children,
}: {
  /** As it is called: scatter chart. */
  kind: string
  title: string
  /** In a sentence. */
  summary: string
  width: number
  height: number
  /** In the order in which the keyboard goes through them. */
  marks: readonly Mark[]
  /** Which mark is meant by a place in px; -1 is none. */
  near?: (marks: readonly Mark[], x: number, y: number) => number
  /** Given the drawing, for its files. */
  drawing: { current: SVGSVGElement | null }
  /** SVG; what is a run's has `data-run`. */
  children: ReactNode
}) {
  const box = useRef<HTMLDivElement>(null)
  const [at, setAt] = useState(-1)
  const byKey = useRef(false)
  const mark = marks[at]
  const called = useRef(title)
  called.current = title
  useEffect(() => {
    const place = box.current
    if (place === null) return
    return keepDrawing(place, () => (drawing.current ? svgOfFigure(drawing.current, called.current) : null))
  }, [drawing])
  useRaised(drawing, marks)
  const show = (next: number): void => {
    setAt(next)
    hoverState.raise(marks[next]?.run.id ?? null)
  }
  const onPointerMove = (event: PointerEvent<HTMLDivElement>): void => {
    const area = event.currentTarget.getBoundingClientRect()
    byKey.current = false
    const next = near(marks, event.clientX - area.left, event.clientY - area.top)
    if (next !== at) show(next)
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.altKey || marks.length === 0) return
    const last = marks.length - 1
    const to = {
      ArrowLeft: at < 0 ? last : Math.max(0, at - 1),
      ArrowRight: Math.min(last, at + 1),
      Home: 0,
      End: last,
    }[event.key]
    if (to !== undefined) {
      event.preventDefault()
      byKey.current = true
      show(to)
    } else if (event.key === "Escape" && at >= 0) {
      event.preventDefault()
      event.stopPropagation()
      show(-1)
    }
  }
  const leave = (): void => {
    if (at >= 0) show(-1)
  }
  // A finger that is lifted leaves what it pointed at; the next tap elsewhere takes it away.
  const onPointerLeave = (event: PointerEvent<HTMLDivElement>): void => {
    if (event.pointerType !== "touch") leave()
  }
  const told = mark ? [visible(mark.run.name, NAME_LENGTH), ...mark.facts.map(([name, value]) => `${name} ${value}`)].join(", ") : ""
  return (
    <div
      ref={box}
      className="w-chart w-figure"
      role="application"
      tabIndex={0}
      aria-label={`${title}: ${summary}`}
      aria-roledescription={kind}
      data-marks={marks.length}
      style={{ width, height }}
      onPointerDown={onPointerMove}
      onPointerMove={onPointerMove}
      onPointerLeave={onPointerLeave}
      onBlur={leave}
      onKeyDown={onKeyDown}
    >
      <svg ref={drawing} width={width} height={height} aria-hidden="true">
        {children}
      </svg>
      {mark && <MarkTip mark={mark} width={width} height={height} />}
      <div className="w-hidden-text" aria-live="polite">
        {byKey.current ? told : ""}
      </div>
    </div>
  )
}

function MarkTip({ mark, width, height }: { mark: Mark; width: number; height: number }) {
  const { run, x, y, facts } = mark
  const beside = x > width / 2 ? { right: width - x + 12 } : { left: x + 12 }
  const above = y > height / 2 ? { bottom: Math.max(0, height - y - 12) } : { top: Math.max(0, y - 12) }
  return (
    <div className="w-chart-tip" aria-hidden="true" style={{ ...beside, ...above }}>
      <div className="w-chart-tip-row w-chart-tip-first">
        <span className="w-chart-dot" style={{ background: run.colour }} />
        <span className="w-chart-tip-name">{visible(run.name, NAME_LENGTH)}</span>
      </div>
      {facts.map(([name, value]) => (
        <div key={name} className="w-figure-fact">
          <span className="w-chart-tip-name">{name}</span>
          <span className="w-chart-tip-value">{value}</span>
        </div>
      ))}
    </div>
  )
}

/** The run that is raised anywhere stands out here too; past React, since it changes with the pointer. */
function useRaised(drawing: { current: SVGSVGElement | null }, marks: readonly Mark[]): void {
  const known = useMemo(() => new Set(marks.map(({ run }) => run.id)), [marks])
  useEffect(() => {
    const show = (): void => {
      const svg = drawing.current
      if (svg === null) return
      const { raised } = hoverState
      const isOne = raised !== null && known.has(raised)
      svg.classList.toggle("w-figure-pale", isOne)
      for (const one of svg.querySelectorAll(".w-figure-raised")) one.classList.remove("w-figure-raised")
      if (!isOne) return
      const own = svg.querySelector(`[data-run="${CSS.escape(raised)}"]`)
      own?.classList.add("w-figure-raised")
    }
    show()
    return hoverState.subscribe(show)
  }, [drawing, known])
}
