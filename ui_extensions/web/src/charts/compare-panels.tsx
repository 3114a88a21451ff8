/** Runs against each other by one metric: what goes with it, all params at once, two at a time, in order. */

import { useMemo, useState } from "react"

import { call } from "../api/client"
import { useAnswer, useAsked } from "../api/use-answer"
import { useAsOf } from "../data/as-of"
import { Empty, Failed, Loading } from "../controls/state"
import { count, number } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import { associate } from "./association"
import { hoverState } from "./hover"
import type { DrawnRun } from "./types"

const MAX_PARAMS = 60
const MAX_ROWS = 2_000
const MAX_BARS = 40
const MAX_AXES = 6
const HEIGHT = 260

type Cell = string | number | null

interface Known {
  params: { key: string }[]
  metrics: { key: string }[]
}

interface Row {
  id: string
  cells: Cell[]
}

function asNumber(cell: Cell | undefined): number | null {
  if (cell === null || cell === undefined || cell === "") return null
  const value = Number(cell)
  return Number.isNaN(value) ? null : value
}

export function ComparePanels({
  experimentIds,
  runs,
  width,
}: {
  experimentIds: readonly string[]
  runs: readonly DrawnRun[]
  width: number
}) {
  const known = useAnswer<Known>("columns", { experiments: experimentIds })
  const metrics = useMemo(() => known.data?.metrics.map((one) => one.key) ?? [], [known.data])
  const params = useMemo(
    () => (known.data?.params.map((one) => one.key) ?? []).slice(0, MAX_PARAMS),
    [known.data],
  )
  const [chosen, choose] = useState<string | null>(null)
  const metric = chosen ?? metrics.find((key) => /(^|\/)(val|eval).*loss/.test(key)) ?? metrics[0] ?? null
  const shown = useMemo(() => runs.filter((run) => run.isVisible).slice(0, MAX_ROWS), [runs])
  const ids = useMemo(() => shown.map((run) => run.id), [shown])
  const columns = metric === null ? [] : [`metrics.${metric}`, ...params.map((key) => `params.${key}`)]
  const at = useAsOf()
  const question = metric === null || ids.length === 0 ? null : JSON.stringify([experimentIds, ids, columns, at])
  const rows = useAsked<{ rows: Row[] }>(question, (options) =>
    call("runs", { experiments: experimentIds, run_ids: ids, columns, at }, options),
  )
  const table = useMemo(() => {
    const byId = new Map((rows.data?.rows ?? []).map((row) => [row.id, row.cells]))
    return shown.flatMap((run) => {
      const cells = byId.get(run.id)
      return cells ? [{ run, value: asNumber(cells[0]), params: cells.slice(1) }] : []
    })
  }, [rows.data, shown])
  if (known.error) return <Failed what="The params could not be read" error={known.error} onRetry={known.retry} />
  if (known.data === null) return <Loading label="Loading the params" rows={3} />
  if (metric === null) return <Empty>No run has logged a metric yet.</Empty>
  const half = width < 800 ? width : Math.floor((width - 8) / 2)
  return (
    <div>
      <div className="w-chart-bar">
        <label>
          By the last value of
          <select className="w-input" value={metric} onChange={(event) => choose(event.target.value)}>
            {metrics.map((key) => (
              <option key={key} value={key}>{visible(key, 80)}</option>
            ))}
          </select>
        </label>
      </div>
      {rows.error && <Failed what="The runs could not be read" error={rows.error} onRetry={rows.retry} />}
      {rows.data === null && !rows.error && ids.length > 0 && <Loading label="Loading the runs" rows={3} />}
      {ids.length === 0 && <Empty>No run is shown.</Empty>}
      {table.length > 0 && (
        <div className="w-compare">
          <Importance metric={metric} params={params} table={table} width={half} />
          <Parallel metric={metric} params={params} table={table} width={half} />
          <Scatter metric={metric} params={params} table={table} width={half} />
          <Bars metric={metric} table={table} width={half} />
        </div>
      )}
    </div>
  )
}

interface TableRow {
  run: DrawnRun
  value: number | null
  params: Cell[]
}

interface PanelProps {
  metric: string
  params: readonly string[]
  table: readonly TableRow[]
  width: number
}

function useAssociations(params: readonly string[], table: readonly TableRow[]) {
  return useMemo(() => {
    const metric = table.map((row) => row.value)
    return params
      .map((key, at) => {
        const cells = table.map((row) => {
          const cell = row.params[at]
          return cell === null || cell === undefined ? null : String(cell)
        })
        return associate(key, cells, metric)
      })
      .filter((one) => one !== null)
      .sort((a, b) => b.strength - a.strength)
  }, [params, table])
}

function Importance({ metric, params, table, width }: PanelProps) {
  const found = useAssociations(params, table)
  return (
    <article className="w-card w-compare-card" style={{ width }} aria-label="Param importance">
      <h3 title="Spearman's rank correlation of numbers, correlation ratio of words. It says what goes together, not what makes what.">
        What goes with {visible(metric, 80)}
      </h3>
      {found.length === 0 && <Empty>No param differs between runs that have it.</Empty>}
      <div className="w-compare-scroll" tabIndex={0} role="group" aria-label="Strengths">
        <table className="w-chart-table">
          <thead>
            <tr>
              <th scope="col">Param</th>
              <th scope="col">Strength</th>
              <th scope="col">Rank correlation</th>
              <th scope="col">Runs</th>
            </tr>
          </thead>
          <tbody>
            {found.map((one) => (
              <tr key={one.key}>
                <th scope="row">{visible(one.key, 80)}</th>
                <td>
                  <span className="w-compare-track">
                    <span className="w-compare-bar" style={{ width: `${100 * one.strength}%` }} />
                  </span>
                  {one.strength.toFixed(2)}
                </td>
                <td>{one.correlation === null ? "words" : one.correlation.toFixed(2).replace("-", "−")}</td>
                <td>{count(one.n)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </article>
  )
}

/** A place from 0 to 1 on an axis of numbers, logarithmic where they span magnitudes, or of words. */
function axisOf(cells: readonly (Cell | undefined)[]): { place: (cell: Cell | undefined) => number | null; ends: [string, string] } {
  const present = cells.filter((cell) => cell !== null && cell !== undefined)
  const numbers = present.map((cell) => asNumber(cell as Cell))
  if (numbers.length > 0 && numbers.every((one) => one !== null && Number.isFinite(one))) {
    const min = Math.min(...(numbers as number[]))
    const max = Math.max(...(numbers as number[]))
    const isLog = min > 0 && max / min > 50
    const on = (value: number): number => (isLog ? Math.log10(value) : value)
    const size = on(max) - on(min)
    return {
      place: (cell) => {
        const value = asNumber(cell ?? null)
        return value === null || !Number.isFinite(value) ? null : size > 0 ? (on(value) - on(min)) / size : 0.5
      },
      ends: [number(min, 4), number(max, 4)],
    }
  }
  const words = [...new Set(present.map(String))].sort()
  const at = new Map(words.map((word, place) => [word, words.length > 1 ? place / (words.length - 1) : 0.5]))
  return {
    place: (cell) => (cell === null || cell === undefined ? null : (at.get(String(cell)) ?? null)),
    ends: [visible(words[0] ?? "", 20), visible(words[words.length - 1] ?? "", 20)],
  }
}

const raise = (run: DrawnRun) => ({
  onPointerEnter: () => hoverState.raise(run.id),
  onPointerLeave: () => hoverState.raise(null),
})

function Parallel({ metric, params, table, width }: PanelProps) {
  const found = useAssociations(params, table).slice(0, MAX_AXES)
  const names = [...found.map((one) => one.key), metric]
  const columns = names.map((name, at) =>
    at < found.length
      ? table.map((row) => row.params[params.indexOf(name)])
      : table.map((row) => row.value),
  )
  const scales = columns.map(axisOf)
  const plot = HEIGHT - 70
  const x = (at: number): number => 40 + (at * (width - 104)) / Math.max(1, names.length - 1)
  return (
    <article className="w-card w-compare-card" style={{ width }} aria-label="Parallel coordinates">
      <h3>Params and {visible(metric, 80)}</h3>
      <svg width={width - 24} height={HEIGHT - 8} role="img" aria-label={`${count(table.length)} runs across ${names.map((one) => visible(one, 40)).join(", ")}`}>
        {table.map((row, rowAt) => {
          const points = scales
            .map((scale, at) => {
              const place = scale.place(columns[at]?.[rowAt])
              return place === null ? null : `${x(at)},${24 + (1 - place) * plot}`
            })
            .filter((one) => one !== null)
          if (points.length < 2) return null
          return (
            <polyline key={row.run.id} points={points.join(" ")} fill="none" stroke={row.run.colour} strokeOpacity={0.55} strokeWidth={1.25} {...raise(row.run)}>
              <title>{visible(row.run.name, NAME_LENGTH)}</title>
            </polyline>
          )
        })}
        {names.map((name, at) => (
          <g key={name} className="w-compare-axis">
            <line x1={x(at)} x2={x(at)} y1={24} y2={24 + plot} />
            <text x={x(at)} y={10} textAnchor="middle">{scales[at]?.ends[1]}</text>
            <text x={x(at)} y={plot + 38} textAnchor="middle">{scales[at]?.ends[0]}</text>
            <text x={x(at)} y={plot + 56} textAnchor="middle" className="w-compare-name">
              {visible(name, 18)}
            </text>
          </g>
        ))}
      </svg>
    </article>
  )
}

function Scatter({ metric, params, table, width }: PanelProps) {
  const found = useAssociations(params, table)
  const [chosen, choose] = useState<string | null>(null)
  const key = chosen ?? found[0]?.key ?? params[0] ?? null
  if (key === null) return null
  const cells = table.map((row) => row.params[params.indexOf(key)])
  const xs = axisOf(cells)
  const ys = axisOf(table.map((row) => row.value))
  const plot = { width: width - 96, height: HEIGHT - 84 }
  return (
    <article className="w-card w-compare-card" style={{ width }} aria-label="Scatter">
      <h3>
        <select className="w-input" aria-label="Param of the scatter" value={key} onChange={(event) => choose(event.target.value)}>
          {params.map((one) => (
            <option key={one} value={one}>{visible(one, 60)}</option>
          ))}
        </select>{" "}
        and {visible(metric, 60)}
      </h3>
      <svg width={width - 24} height={HEIGHT - 36} role="img" aria-label={`${visible(metric, 60)} over ${visible(key, 60)}`}>
        <g transform="translate(54,8)" className="w-compare-axis">
          <line x1={0} x2={0} y1={0} y2={plot.height} />
          <line x1={0} x2={plot.width} y1={plot.height} y2={plot.height} />
          <text x={-6} y={8} textAnchor="end">{ys.ends[1]}</text>
          <text x={-6} y={plot.height} textAnchor="end">{ys.ends[0]}</text>
          <text x={0} y={plot.height + 16}>{xs.ends[0]}</text>
          <text x={plot.width} y={plot.height + 16} textAnchor="end">{xs.ends[1]}</text>
          {table.map((row, at) => {
            const px = xs.place(cells[at])
            const py = ys.place(row.value)
            if (px === null || py === null) return null
            return (
              <circle key={row.run.id} cx={8 + px * (plot.width - 16)} cy={(1 - py) * plot.height} r={4} fill={row.run.colour} fillOpacity={0.75} {...raise(row.run)}>
                <title>{`${visible(row.run.name, NAME_LENGTH)}: ${visible(String(cells[at]), 40)}, ${number(row.value, 5)}`}</title>
              </circle>
            )
          })}
        </g>
      </svg>
    </article>
  )
}

function Bars({ metric, table, width }: Omit<PanelProps, "params">) {
  const ordered = table
    .filter((row): row is TableRow & { value: number } => row.value !== null && Number.isFinite(row.value))
    .sort((a, b) => a.value - b.value)
    .slice(0, MAX_BARS)
  const most = Math.max(...ordered.map((row) => Math.abs(row.value)), Number.MIN_VALUE)
  return (
    <article className="w-card w-compare-card" style={{ width }} aria-label="Bars">
      <h3>
        {visible(metric, 60)}, the {ordered.length < table.length ? `${count(ordered.length)} smallest` : "smallest first"}
      </h3>
      <div className="w-compare-scroll" tabIndex={0} role="group" aria-label="Values">
        <table className="w-chart-table">
          <tbody>
            {ordered.map((row) => (
              <tr key={row.run.id} {...raise(row.run)}>
                <th scope="row" title={visible(row.run.name, NAME_LENGTH)}>{visible(row.run.name, 28)}</th>
                <td className="w-compare-wide">
                  <span className="w-compare-bar" style={{ width: `${(100 * Math.abs(row.value)) / most}%`, background: row.run.colour }} />
                </td>
                <td title={String(row.value)}>{number(row.value, 5)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </article>
  )
}
