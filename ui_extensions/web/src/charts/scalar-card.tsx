/** One number of a metric for each visible run, as bars in order; large where it is one run alone. */

import { useMemo } from "react"

import { IconButton } from "../controls/button"
import { Empty, Failed, Loading } from "../controls/state"
import { count, number } from "../text/format"
import { Name } from "../text/name"
import { visible } from "../text/visible"
import type { BarRow } from "./bar-rows"
import { BarRows } from "./bar-rows"
import { CardFrame } from "./card-frame"
import type { CardPlaceProps } from "./card-frame"
import { saveItems, svgOfBars } from "./figure-files"
import type { Aggregate, CardPatch, DrawnRun, RunGroup } from "./types"
import { numberOf, useCells } from "./use-cells"

export interface Scalar {
  id: string
  name: string
  colour: string
  /** NaN and infinities too. */
  value: number
  /** Of a group: how many runs it is the mean of. */
  n: number
}

/** A value a run, or the mean of each group, the largest first; what is no number is last. */
export function scalarsOf(
  values: ReadonlyMap<string, number>,
  runs: readonly DrawnRun[],
  groups: readonly RunGroup[] | null,
): Scalar[] {
  const found: Scalar[] = []
  if (groups === null) {
    for (const { id, name, colour, isVisible } of runs) {
      const value = values.get(id)
      if (isVisible && value !== undefined) found.push({ id, name, colour, value, n: 1 })
    }
  } else {
    for (const { key, label, colour, runIds } of groups) {
      const own = runIds.flatMap((id) => values.get(id) ?? []).filter(Number.isFinite)
      if (own.length === 0) continue
      const value = own.reduce((sum, one) => sum + one, 0) / own.length
      found.push({ id: `group:${key}`, name: label, colour, value, n: own.length })
    }
  }
  const place = (value: number): number => (Number.isNaN(value) ? -Infinity : value)
  return found.sort((a, b) => place(b.value) - place(a.value) || Number(Number.isNaN(a.value)) - Number(Number.isNaN(b.value)))
}

/** The share of a bar from its zero, and where that is: bars of both signs share one axis. */
export function barsOf(values: readonly number[]): { zero: number; share: (value: number) => number } {
  const finite = values.filter(Number.isFinite)
  const low = Math.min(0, ...finite)
  const high = Math.max(0, ...finite)
  const size = high - low || 1
  return { zero: -low / size, share: (value) => (Number.isFinite(value) ? Math.abs(value) / size : 0) }
}

export function ScalarCard({
  experimentIds,
  metric,
  aggregate,
  title,
  runs,
  groups,
  newsAt,
  isUp,
  onCard,
  ...place
}: CardPlaceProps & {
  experimentIds: readonly string[]
  metric: string
  aggregate: Aggregate
  title: string
  runs: readonly DrawnRun[]
  groups: readonly RunGroup[] | null
  /** It is asked for again when this changes. */
  newsAt: number
  isUp: boolean
  /** What the card changes of itself. */
  onCard: (patch: CardPatch) => void
}) {
  const columns = useMemo(() => [`metrics.${metric}:${aggregate}`], [metric, aggregate])
  const { rows, isLoading, error, retry } = useCells(experimentIds, runs, columns, newsAt)
  const scalars = useMemo(() => {
    const values = new Map(rows.flatMap(({ run, cells }) => {
      const value = numberOf(cells[0])
      return value === null ? [] : [[run.id, value] as const]
    }))
    const found = scalarsOf(values, runs, groups)
    return isUp ? found.reverse() : found
  }, [rows, runs, groups, isUp])
  const bars = useMemo(() => {
    const { zero, share } = barsOf(scalars.map((one) => one.value))
    return scalars.map((one): BarRow => ({
      id: one.id,
      runId: one.id,
      label: one.name,
      colour: one.colour,
      from: one.value < 0 ? zero - share(one.value) : zero,
      to: one.value < 0 ? zero : zero + share(one.value),
      text: number(one.value, 5),
      exact: String(one.value),
      ...(one.n > 1 ? { about: `mean of ${count(one.n)}` } : {}),
    }))
  }, [scalars])
  const [only] = scalars
  const svg = (): string => svgOfBars(bars, title)
  const items = [
    ...saveItems(title, svg, () => ({
      head: ["run", "run_id", columns[0] ?? ""],
      rows: scalars.map((one) => [one.name, one.id, one.value]),
    })),
    ...place.items,
  ]
  return (
    <CardFrame
      {...place}
      items={items}
      kind="scalar"
      title={title}
      about={metric}
      head={
        <IconButton
          icon="sort"
          label={isUp ? "Largest first" : "Smallest first"}
          isSmall
          onClick={() => onCard({ isUp: isUp ? undefined : true })}
        />
      }
    >
      {error && <Failed what="The values could not be read" error={error} onRetry={retry} />}
      {isLoading && <Loading label="Loading the values" rows={3} />}
      {!isLoading && !error && scalars.length === 0 && <Empty>No run that is shown has {visible(metric, 80)}.</Empty>}
      {scalars.length === 1 && only && (
        <div className="w-scalar-one">
          <strong title={String(only.value)}>{number(only.value, 5)}</strong>
          <span className="w-scalar-name">
            <span className="w-chart-dot" style={{ background: only.colour }} />
            <Name text={only.name} />
          </span>
        </div>
      )}
      {scalars.length > 1 && <BarRows label={`Values: ${title}`} rows={bars} />}
    </CardFrame>
  )
}
