/** What runs have in a column as bars: one a run, or one for all that have the same in another column. */

import { useMemo } from "react"

import { IconButton } from "../controls/button"
import { Empty, Failed, Loading } from "../controls/state"
import { columnTitle } from "../runs/columns"
import { slotColour } from "../runs/colour"
import { count, number } from "../text/format"
import { useTheme } from "../theme"
import { BarRows } from "./bar-rows"
import type { BarRow } from "./bar-rows"
import { CardFrame } from "./card-frame"
import { ColumnButton } from "./column-button"
import { saveItems, svgOfBars } from "./figure-files"
import type { PanelProps } from "./panel-props"
import { barsOf } from "./scalar-card"
import type { RunGroup } from "./types"
import type { CellRow } from "./use-cells"
import { numberOf, useCells, usualMetric } from "./use-cells"

const VALUE = { metrics: true, params: true, times: true } as const
const BY = { params: true, tags: true } as const

/** A bar: one run, or the mean of several with the smallest and the largest of them. */
export interface Bar {
  readonly id: string
  readonly label: string
  readonly colour: string
  readonly value: number
  readonly low: number
  readonly high: number
  readonly n: number
  readonly runId: string | null
}

function barOf(id: string, label: string, colour: string, values: readonly number[]): Bar {
  const value = values.reduce((sum, one) => sum + one, 0) / values.length
  return { id, label, colour, value, low: Math.min(...values), high: Math.max(...values), n: values.length, runId: null }
}

/**
 * Return the bars of some runs, of finite values, in order.
 *
 * @param rows Their first cell is the value, the second one by what they are put together.
 * @param isBy Say whether there is such a second cell.
 */
export function barsOfRuns(
  rows: readonly CellRow[],
  isBy: boolean,
  groups: readonly RunGroup[] | null,
  colourOf: (at: number) => string,
  isUp: boolean,
): Bar[] {
  const values = new Map<string, number>()
  for (const { run, cells } of rows) {
    const value = numberOf(cells[0])
    if (value !== null && Number.isFinite(value)) values.set(run.id, value)
  }
  let found: Bar[]
  if (isBy) {
    const words = new Map<string, number[]>()
    for (const { run, cells } of rows) {
      const value = values.get(run.id)
      if (value === undefined) continue
      const word = cells[1] === null || cells[1] === undefined ? "—" : String(cells[1])
      const own = words.get(word)
      if (own) own.push(value)
      else words.set(word, [value])
    }
    const names = [...words.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }))
    found = names.map((word, at) => barOf(`by:${word}`, word, colourOf(at), words.get(word) ?? []))
  } else if (groups !== null) {
    found = groups.flatMap(({ key, label, colour, runIds }) => {
      const own = runIds.flatMap((id) => values.get(id) ?? [])
      return own.length === 0 ? [] : [barOf(`group:${key}`, label, colour, own)]
    })
  } else {
    found = rows.flatMap(({ run }) => {
      const value = values.get(run.id)
      return value === undefined ? [] : [{ ...barOf(run.id, run.name, run.colour, [value]), runId: run.id }]
    })
  }
  return found.sort((a, b) => (isUp ? a.value - b.value : b.value - a.value))
}

export function BarsCard(props: PanelProps) {
  const { card, known, experimentIds, runs, groups, newsAt, onCard } = props
  const theme = useTheme()
  const [ownValue, by = null] = card.columns ?? []
  const value = ownValue ?? (known ? usualMetric(known) : null)
  const columns = value === null ? null : by === null ? [value] : [value, by]
  const { rows, isLoading, error, retry } = useCells(experimentIds, runs, columns, newsAt)
  props.onColumns(columns ?? [])
  // Where nobody chose: a loss is the better the smaller it is, and that comes first.
  const isUp = card.isUp === true
  const bars = useMemo(
    () => barsOfRuns(rows, by !== null, groups, (at) => slotColour(at, theme), isUp),
    [rows, by, groups, theme, isUp],
  )
  const shown = useMemo(() => {
    const { zero, share } = barsOf(bars.flatMap((bar) => [bar.low, bar.high, bar.value]))
    const at = (one: number): number => (one < 0 ? zero - share(one) : zero + share(one))
    return bars.map((bar): BarRow => ({
      ...bar,
      from: Math.min(zero, at(bar.value)),
      to: Math.max(zero, at(bar.value)),
      whisker: bar.n > 1 ? [at(bar.low), at(bar.high)] : null,
      text: number(bar.value, 5),
      exact: bar.n > 1 ? `${bar.value}, from ${bar.low} to ${bar.high}` : String(bar.value),
      ...(bar.runId === null ? { about: `mean of ${count(bar.n)}` } : {}),
    }))
  }, [bars])
  const title = card.title ?? (value === null ? "Bars" : by === null ? columnTitle(value) : `${columnTitle(value)} by ${columnTitle(by)}`)
  const svg = (): string => svgOfBars(shown, title)
  const items = [
    ...saveItems(title, svg, () => ({
      head: [by ?? "run", "run_id", value ?? "value", "min", "max", "runs"],
      rows: bars.map((bar) => [bar.label, bar.runId, bar.value, bar.low, bar.high, bar.n]),
    })),
    ...props.items,
  ]
  return (
    <CardFrame
      {...props}
      items={items}
      kind="bars"
      title={title}
      name={`Bars: ${title}`}
      head={
        <IconButton
          icon="sort"
          label={isUp ? "Largest first" : "Smallest first"}
          isSmall
          onClick={() => onCard({ isUp: isUp ? undefined : true })}
        />
      }
      foot={
        <>
          <ColumnButton
            label="value"
            column={value}
            known={known}
            kinds={VALUE}
            onChange={(next) => next !== null && onCard({ columns: by === null ? [next] : [next, by] })}
          />
          <ColumnButton
            label="by"
            column={by}
            known={known}
            kinds={BY}
            otherwise="run"
            onChange={(next) => value !== null && onCard({ columns: next === null ? [value] : [value, next] })}
          />
        </>
      }
    >
      {error && <Failed what="The values could not be read" error={error} onRetry={retry} />}
      {isLoading && <Loading label="Loading the values" rows={4} />}
      {!isLoading && !error && shown.length === 0 && (
        <Empty>{rows.length === 0 || value === null ? "No run is shown." : `No run that is shown has ${columnTitle(value)}.`}</Empty>
      )}
      {shown.length > 0 && <BarRows label={`Values: ${title}`} rows={shown} />}
    </CardFrame>
  )
}
