/** Which params go with what came of the runs, and how much. */

import { useMemo } from "react"

import { Empty, Failed, Loading } from "../controls/state"
import { columnTitle } from "../runs/columns"
import { count } from "../text/format"
import { BarRows } from "./bar-rows"
import type { BarRow } from "./bar-rows"
import { CardFrame } from "./card-frame"
import { ColumnButton } from "./column-button"
import { saveItems, svgOfBars } from "./figure-files"
import type { PanelProps } from "./panel-props"
import { associations } from "./strongest"
import { paramColumns, useCells, usualMetric } from "./use-cells"

const TARGET = { metrics: true, times: true } as const
const ABOUT =
  "Spearman's rank correlation of numbers, correlation ratio of words. It says what goes together, not what makes what."
const HEAD = ["Param", "Strength", "Rank correlation", "Runs"] as const

export function ImportanceCard(props: PanelProps) {
  const { card, known, experimentIds, runs, newsAt, onCard } = props
  const [own, ...ownParams] = card.columns ?? []
  const target = own ?? (known ? usualMetric(known) : null)
  const params = useMemo(
    () => (ownParams.length > 0 ? ownParams : known ? paramColumns(known) : []),
    [ownParams.join("\n"), known],
  )
  const columns = target === null ? null : [target, ...params]
  const { rows, isLoading, error, retry } = useCells(experimentIds, runs, columns, newsAt)
  props.onColumns(columns ?? [])
  const found = useMemo(() => associations(rows, params), [rows, params])
  const bars = useMemo(
    () =>
      found.map((one): BarRow => ({
        id: one.key,
        label: columnTitle(one.key),
        runId: null,
        colour: "var(--w-primary)",
        from: 0,
        to: one.strength,
        text: one.strength.toFixed(2),
        exact: String(one.strength),
        more: [one.correlation === null ? "words" : one.correlation.toFixed(2).replace("-", "−"), count(one.n)],
      })),
    [found],
  )
  const title = card.title ?? (target === null ? "Param importance" : `What goes with ${columnTitle(target)}`)
  const svg = (): string => {
    const colour = getComputedStyle(document.documentElement).getPropertyValue("--w-primary").trim()
    return svgOfBars(bars.map((bar) => ({ ...bar, colour })), title)
  }
  const items = [
    ...saveItems(title, svg, () => ({
      head: ["param", "strength", "rank_correlation", "runs"],
      rows: found.map((one) => [columnTitle(one.key), one.strength, one.correlation, one.n]),
    })),
    ...props.items,
  ]
  const nLeftOut = ownParams.length === 0 ? (known?.params.length ?? 0) - params.length : 0
  return (
    <CardFrame
      {...props}
      items={items}
      kind="importance"
      title={title}
      name={`Param importance: ${title}`}
      about={ABOUT}
      foot={
        <>
          <ColumnButton
            label="by"
            column={target}
            known={known}
            kinds={TARGET}
            onChange={(next) => next !== null && onCard({ columns: [next, ...ownParams] })}
          />
          {nLeftOut > 0 && <span className="w-foot-note">{count(params.length)} params that most runs have</span>}
        </>
      }
    >
      {error && <Failed what="The values could not be read" error={error} onRetry={retry} />}
      {isLoading && <Loading label="Loading the values" rows={4} />}
      {!isLoading && !error && bars.length === 0 && (
        <Empty>{rows.length === 0 ? "No run is shown." : "No param differs between three runs that have it."}</Empty>
      )}
      {bars.length > 0 && <BarRows label={`Strengths: ${title}`} head={HEAD} rows={bars} />}
    </CardFrame>
  )
}
