/** Runs as lines across axes of what they have: params, and what came of them. */

import { useMemo, useRef, useState } from "react"

import { Button } from "../controls/button"
import { Empty, Failed, Loading } from "../controls/state"
import { columnTitle } from "../runs/columns"
import { count } from "../text/format"
import { middleCut } from "../text/names"
import { visible } from "../text/visible"
import type { Range } from "./axis-brush"
import { AxisBrush, isWithin } from "./axis-brush"
import { CardFrame } from "./card-frame"
import { ColumnButton } from "./column-button"
import type { Mark } from "./figure"
import { Figure } from "./figure"
import { saveItems, svgOfFigure } from "./figure-files"
import type { PanelProps } from "./panel-props"
import { associations } from "./strongest"
import { paramColumns, useCells, usualMetric } from "./use-cells"
import { cellFact, valueAxis } from "./value-axis"

const AUTO_AXES = 6
const TOP = 18
const BOTTOM = 32
const SIDE = 44
const NEAR_PX = 14
const KINDS = { params: true, metrics: true, times: true } as const
const TARGET = { metrics: true, params: true, times: true } as const
const MAX_TITLE = 22
/** As many letters of a value have room beside the axes at the edges. */
const OUTER_LETTERS = 7

/** A run with its place on each axis; null where it has none. */
interface Line {
  readonly mark: Mark
  readonly places: readonly (number | null)[]
}

export function ParallelCard(props: PanelProps) {
  const { card, known, experimentIds, runs, newsAt, onCard, width, height } = props
  const drawing = useRef<SVGSVGElement | null>(null)
  const [own, ...ownAxes] = card.columns ?? []
  const target = own ?? (known ? usualMetric(known) : null)
  const isAuto = ownAxes.length === 0
  const params = useMemo(() => (isAuto && known ? paramColumns(known) : []), [isAuto, known])
  const columns = target === null ? null : [target, ...(isAuto ? params : ownAxes)]
  const { rows, isLoading, error, retry } = useCells(experimentIds, runs, columns, newsAt)
  // What is never different says nothing; the strongest stands beside what it goes with.
  const axes = useMemo(() => {
    if (!isAuto) return ownAxes
    return associations(rows, params).slice(0, AUTO_AXES).map((one) => one.key).reverse()
  }, [isAuto, rows, params, ownAxes.join("\n")])
  const all = useMemo(() => (target === null ? [] : [...axes, target]), [axes, target])
  props.onColumns(target === null ? [] : [target, ...axes])
  const plot = { width: Math.max(80, width - 26), height: Math.max(60, height - 28 - 32 - TOP - BOTTOM) }
  const x = (at: number): number =>
    all.length < 2 ? plot.width / 2 : SIDE + (at * (plot.width - 2 * SIDE)) / (all.length - 1)
  const y = (place: number): number => TOP + (1 - place) * plot.height
  const scales = useMemo(() => {
    const at = new Map((columns ?? []).map((column, place) => [column, place]))
    return all.map((column) => {
      const place = at.get(column) ?? -1
      return { place, axis: valueAxis(column, rows.map(({ cells }) => cells[place]), null, 4) }
    })
  }, [all, rows])
  const lines = useMemo(
    () =>
      rows
        .map(({ run, cells }): Line => {
          const places = scales.map(({ place, axis }) => axis.place(cells[place]))
          const last = places.at(-1)
          const facts = all.map((column, at) => cellFact(column, cells[scales[at]?.place ?? -1]))
          return { mark: { run, x: x(all.length - 1), y: y(last ?? 0), facts }, places }
        })
        .filter(({ places }) => places.filter((one) => one !== null).length > 1)
        .sort((a, b) => (a.places.at(-1) ?? -1) - (b.places.at(-1) ?? -1)),
    [rows, scales, all, plot.width, plot.height],
  )
  const [ranges, setRanges] = useState<ReadonlyMap<string, Range>>(new Map())
  const isNarrowed = all.some((column) => ranges.has(column))
  const inside = useMemo(
    () => lines.filter(({ places }) => all.every((column, at) => isWithin(places[at], ranges.get(column)))),
    [lines, all, ranges],
  )
  const insiders = useMemo(() => new Set(inside), [inside])
  const narrow = (column: string, range: Range | undefined): void => {
    const next = new Map(ranges)
    if (range) next.set(column, range)
    else next.delete(column)
    setRanges(next)
  }
  const marks = useMemo(() => inside.map((line) => line.mark), [inside])
  /** The line that is nearest to a place between two axes. */
  const near = (_: readonly Mark[], px: number, py: number): number => {
    let found = -1
    let best = NEAR_PX
    inside.forEach(({ places }, at) => {
      for (let axis = 0; axis + 1 < places.length; axis += 1) {
        const [from, to] = [places[axis], places[axis + 1]]
        const [left, right] = [x(axis), x(axis + 1)]
        if (from === null || to === null || from === undefined || to === undefined || px < left - 2 || px > right + 2) continue
        const share = (px - left) / (right - left)
        const distance = Math.abs(y(from + (to - from) * share) - py)
        if (distance < best) {
          best = distance
          found = at
        }
      }
    })
    return found
  }
  const title = card.title ?? (target === null ? "Parallel coordinates" : `Params and ${columnTitle(target)}`)
  const change = (next: readonly string[]): void => {
    if (target !== null) onCard({ columns: [target, ...next] })
  }
  const svg = (): string => (drawing.current ? svgOfFigure(drawing.current, title) : "")
  const items = [
    ...saveItems(title, svg, () => ({
      head: ["run", "run_id", ...all],
      rows: rows.map(({ run, cells }) => [run.name, run.id, ...scales.map(({ place }) => cells[place] ?? null)]),
    })),
    ...props.items,
  ]
  const room = all.length < 2 ? plot.width : (plot.width - 2 * SIDE) / (all.length - 1)
  const nLetters = Math.max(4, Math.min(MAX_TITLE, Math.floor(room / 6.5)))
  return (
    <CardFrame
      {...props}
      items={items}
      kind="parallel"
      title={title}
      name={`Parallel coordinates: ${title}`}
      foot={
        <>
          <ColumnButton
            label="by"
            column={target}
            known={known}
            kinds={TARGET}
            onChange={(next) => next !== null && onCard({ columns: [next, ...(isAuto ? [] : ownAxes)] })}
          />
          <ColumnButton label="axis" column={null} known={known} kinds={KINDS} otherwise={isAuto ? "strongest" : "add"} onChange={(next) => {
            if (next === null) change([])
            else if (!all.includes(next)) change([...axes, next])
          }} />
          {axes.length > 1 && (
            <span className="w-foot-note w-cut" title={axes.map(columnTitle).join(", ")}>
              {count(axes.length)} axes
            </span>
          )}
          {isNarrowed && (
            <>
              <span className="w-foot-note" aria-live="polite">
                {count(inside.length)} of {count(lines.length)} runs in range
              </span>
              <Button kind="quiet" isSmall onClick={() => setRanges(new Map())}>
                All runs
              </Button>
            </>
          )}
          {!isAuto && (
            <Button kind="quiet" isSmall onClick={() => change([])}>
              Strongest
            </Button>
          )}
        </>
      }
    >
      {error && <Failed what="The values could not be read" error={error} onRetry={retry} />}
      {isLoading && <Loading label="Loading the values" rows={4} />}
      {!isLoading && !error && lines.length === 0 && (
        <Empty>{rows.length === 0 ? "No run is shown." : "No param differs between the runs that are shown."}</Empty>
      )}
      {lines.length > 0 && (
        <Figure
          kind="parallel coordinates"
          title={title}
          summary={`${count(lines.length)} runs across ${all.map((one) => visible(columnTitle(one), 40)).join(", ")}`}
          width={plot.width}
          height={plot.height + TOP + BOTTOM}
          marks={marks}
          near={near}
          drawing={drawing}
        >
          {lines.map((line) => (
            <polyline
              key={line.mark.run.id}
              data-run={line.mark.run.id}
              data-out={insiders.has(line) ? undefined : true}
              points={line.places.flatMap((place, at) => (place === null ? [] : [`${round(x(at))},${round(y(place))}`])).join(" ")}
              fill="none"
              stroke={line.mark.run.colour}
              strokeWidth={lines.length > 100 ? 1 : 1.5}
              strokeOpacity={insiders.has(line) ? 0.7 : 0.08}
              strokeLinejoin="round"
            />
          ))}
          {all.map((column, at) => (
            <g key={column} className="w-figure-axis" data-axis={column}>
              <line x1={x(at)} x2={x(at)} y1={TOP} y2={TOP + plot.height} className="w-figure-upright" />
              {scales[at]?.axis.ticks.map((one) => (
                <text
                  key={one.at}
                  x={x(at) + (isLeft(at, one.text) ? -5 : 5)}
                  y={y(one.at) + 4}
                  textAnchor={isLeft(at, one.text) ? "end" : "start"}
                  className="w-figure-over"
                >
                  {middleCut(one.text, at === all.length - 1 ? OUTER_LETTERS : nLetters)}
                </text>
              ))}
              <text
                x={at === 0 ? 0 : at === all.length - 1 ? plot.width : x(at)}
                y={TOP + plot.height + 22}
                textAnchor={at === 0 ? "start" : at === all.length - 1 ? "end" : "middle"}
                className="w-figure-name"
              >
                {middleCut(columnTitle(column), nLetters)}
              </text>
              <AxisBrush
                x={x(at)}
                top={TOP}
                height={plot.height}
                range={ranges.get(column)}
                onRange={(range) => narrow(column, range)}
              />
            </g>
          ))}
        </Figure>
      )}
    </CardFrame>
  )
}

/** Say whether an axis' value stands on its left: of the first one, where there is room for it. */
function isLeft(at: number, text: string): boolean {
  return at === 0 && text.length < OUTER_LETTERS
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
