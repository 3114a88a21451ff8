/** What runs have in one column over what they have in another: a dot a run. */

import { useMemo, useRef } from "react"

import { Empty, Failed, Loading } from "../controls/state"
import { columnTitle } from "../runs/columns"
import { count } from "../text/format"
import { middleCut } from "../text/names"
import { CardFrame } from "./card-frame"
import { Figure } from "./figure"
import type { Mark } from "./figure"
import { saveItems, svgOfFigure } from "./figure-files"
import type { PanelProps } from "./panel-props"
import { ColumnButton } from "./column-button"
import { strongest } from "./strongest"
import { paramColumns, useCells, usualMetric } from "./use-cells"
import type { ValueAxis } from "./value-axis"
import { cellFact, valueAxis } from "./value-axis"

const LEFT = 56
const BOTTOM = 22
const RADIUS = 4
const AXIS = { params: true, metrics: true, times: true } as const

export function ScatterCard(props: PanelProps) {
  const { card, known, experimentIds, runs, newsAt, onCard, onSettings, width, height } = props
  const drawing = useRef<SVGSVGElement | null>(null)
  const [ownX, ownY] = card.columns ?? []
  const y = ownY ?? (known ? usualMetric(known) : null)
  const params = useMemo(() => (ownX === undefined && known ? paramColumns(known) : []), [ownX, known])
  const columns = y === null ? null : [y, ...(ownX === undefined ? params : [ownX])]
  const { rows, isLoading, error, retry } = useCells(experimentIds, runs, columns, newsAt)
  const x = useMemo(() => ownX ?? (rows.length > 0 ? strongest(rows, params)[0] : params[0]) ?? null, [ownX, rows, params])
  const place = x === null ? -1 : ownX === undefined ? params.indexOf(x) + 1 : 1
  props.onColumns(x !== null && y !== null ? [x, y] : [])
  const plot = { width: Math.max(80, width - 26 - LEFT), height: Math.max(60, height - 28 - 32 - BOTTOM - 12) }
  const settings = card.settings ?? {}
  const [xs, ys] = useMemo((): [ValueAxis, ValueAxis] => {
    const isLog = settings.yScale === undefined ? null : settings.yScale === "log"
    return [
      valueAxis(x ?? "", rows.map(({ cells }) => cells[place]), settings.xLog ?? null, Math.floor(plot.width / 64)),
      valueAxis(y ?? "", rows.map(({ cells }) => cells[0]), isLog, Math.floor(plot.height / 40)),
    ]
  }, [x, y, rows, place, settings.xLog, settings.yScale, plot.width, plot.height])
  const marks = useMemo(() => {
    if (x === null || y === null) return []
    const found: Mark[] = []
    for (const { run, cells } of rows) {
      const px = xs.place(cells[place])
      const py = ys.place(cells[0])
      if (px === null || py === null) continue
      const facts = [cellFact(x, cells[place]), cellFact(y, cells[0])]
      found.push({ run, x: LEFT + px * plot.width, y: 8 + (1 - py) * plot.height, facts })
    }
    return found.sort((a, b) => a.x - b.x)
  }, [rows, xs, ys, x, y, place, plot.width, plot.height])
  const title = card.title ?? (x !== null && y !== null ? `${columnTitle(y)} over ${columnTitle(x)}` : "Scatter")
  const nWithout = rows.length - marks.length
  const choose = (nextX: string | null, nextY: string | null): void => {
    if (nextX !== null && nextY !== null) onCard({ columns: [nextX, nextY] })
  }
  const svg = (): string => (drawing.current ? svgOfFigure(drawing.current, title) : "")
  const items = [
    { label: "Logarithmic x", isChecked: xs.isLog, isDisabled: !xs.isNumber, onSelect: () => onSettings({ xLog: !xs.isLog }) },
    {
      label: "Logarithmic y",
      isChecked: ys.isLog,
      isDisabled: !ys.isNumber,
      onSelect: () => onSettings({ yScale: ys.isLog ? "linear" : "log" }),
    },
    ...saveItems(title, svg, () => ({
      head: ["run", "run_id", x ?? "x", y ?? "y"],
      rows: rows.map(({ run, cells }) => [run.name, run.id, cells[place] ?? null, cells[0] ?? null]),
    })).map((item, at) => ({ ...item, isFirstOfGroup: at === 0 })),
    ...props.items,
  ]
  return (
    <CardFrame
      {...props}
      items={items}
      kind="scatter"
      title={title}
      name={`Scatter: ${title}`}
      foot={
        <>
          <ColumnButton label="y" column={y} known={known} kinds={AXIS} onChange={(next) => choose(x, next)} />
          <ColumnButton label="x" column={x} known={known} kinds={AXIS} onChange={(next) => choose(next, y)} />
          {nWithout > 0 && <span className="w-foot-note">{count(nWithout)} without a place</span>}
        </>
      }
    >
      {error && <Failed what="The values could not be read" error={error} onRetry={retry} />}
      {isLoading && <Loading label="Loading the values" rows={4} />}
      {!isLoading && !error && marks.length === 0 && (
        <Empty>{rows.length === 0 ? "No run is shown." : x === null ? "No run has a param yet." : "No run that is shown has both."}</Empty>
      )}
      {marks.length > 0 && (
        <Figure
          kind="scatter chart"
          title={title}
          summary={`${count(marks.length)} runs`}
          width={plot.width + LEFT}
          height={plot.height + BOTTOM + 12}
          marks={marks}
          drawing={drawing}
        >
          <Axes xs={xs} ys={ys} {...plot} />
          {marks.map(({ run, x: cx, y: cy }) => (
            <circle key={run.id} data-run={run.id} cx={cx} cy={cy} r={RADIUS} fill={run.colour} fillOpacity={0.8} />
          ))}
        </Figure>
      )}
    </CardFrame>
  )
}

function Axes({ xs, ys, width, height }: { xs: ValueAxis; ys: ValueAxis; width: number; height: number }) {
  const bottom = 8 + height
  return (
    <g className="w-figure-axis">
      {ys.ticks.map(({ at, text }) => (
        <g key={`${at}`}>
          <line x1={LEFT} x2={LEFT + width} y1={8 + (1 - at) * height} y2={8 + (1 - at) * height} />
          <text x={LEFT - 6} y={8 + (1 - at) * height + 4} textAnchor="end">{middleCut(text, 8)}</text>
        </g>
      ))}
      {xs.ticks.map(({ at, text }, place) => (
        <g key={`${at}`}>
          <line x1={LEFT + at * width} x2={LEFT + at * width} y1={8} y2={bottom} />
          <text
            x={LEFT + at * width}
            y={bottom + 16}
            textAnchor={at > 0.9 ? "end" : place === 0 && at < 0.02 ? "start" : "middle"}
          >
            {middleCut(text, 16)}
          </text>
        </g>
      ))}
    </g>
  )
}
