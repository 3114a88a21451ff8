import "./gradients.css"

import { useMemo, useState } from "react"

import { useAsked } from "../api/use-answer"
import { Segments } from "../controls/button"
import { SearchBox } from "../controls/input"
import { Empty, Loading, StateOf } from "../controls/state"
import { setQuery, useRoute } from "../router"
import { count, number } from "../text/format"
import { visible } from "../text/visible"
import { HeatMap } from "./heat-map"
import type { Histograms, Norms, WatchedKind } from "./histograms"
import { BINS, readHistograms, readNorms } from "./histograms"
import type { TabProps } from "./tab-props"

/** What `mlflow_weir.watch` saw: norms of every layer over steps, and one layer's distribution. */
export function Gradients({ run }: TabProps) {
  const { query } = useRoute()
  const kind: WatchedKind = query.get("kind") === "parameters" ? "parameters" : "gradients"
  const layer = query.get("layer")
  const [search, setSearch] = useState("")
  const set = (name: string, value: string | null): void => {
    const next = new URLSearchParams(query)
    if (value === null) next.delete(name)
    else next.set(name, value)
    setQuery(next)
  }
  const answer = useAsked(`${run.id} ${kind}`, (options) => readNorms(run.id, kind, options))
  return (
    <>
      <div className="w-toolbar">
        <Segments
          label="What is shown"
          value={kind}
          onChange={(value) => set("kind", value === "gradients" ? null : value)}
          options={[
            { value: "gradients", label: "Gradients" },
            { value: "parameters", label: "Parameters" },
          ]}
        />
        <SearchBox label="Search layers" value={search} onChange={setSearch} />
      </div>
      <StateOf
        answer={answer}
        what="The norms could not be read"
        loading={<Loading rows={10} />}
        isEmpty={(norms) => norms.keys.length === 0}
        empty={
          <Empty>
            No {kind} were watched. In the training, before the loop:{" "}
            <code>mlflow_weir.watch(model)</code>
          </Empty>
        }
      >
        {(norms) => (
          <div className="w-gradients">
            <NormMap
              norms={norms}
              search={search}
              layer={layer}
              onLayer={(key) => set("layer", key)}
            />
            {layer !== null && norms.keys.includes(layer) && (
              <Layer key={`${kind} ${layer}`} runId={run.id} kind={kind} layer={layer} />
            )}
          </div>
        )}
      </StateOf>
    </>
  )
}

const ROWS_FIRST = 200

function NormMap({
  norms,
  search,
  layer,
  onLayer,
}: {
  norms: Norms
  search: string
  layer: string | null
  onLayer: (key: string) => void
}) {
  const [isAll, setAll] = useState(false)
  const nSteps = norms.steps.length
  const rows = useMemo(() => {
    const words = search.toLowerCase()
    const found = norms.keys.map((key, at) => ({ key, at, bad: sum(norms.bad, at, nSteps) }))
    // What went wrong comes first.
    return found
      .filter(({ key }) => key.toLowerCase().includes(words))
      .sort((a, b) => Number(b.bad > 0) - Number(a.bad > 0) || a.at - b.at)
  }, [norms, search, nSteps])
  const shown = isAll ? rows : rows.slice(0, ROWS_FIRST)
  const nBad = rows.filter(({ bad }) => bad > 0).length
  return (
    <section aria-labelledby="w-norms">
      <h2 id="w-norms" className="w-section-title">
        Norm of each layer, by step{" "}
        <span className="w-secondary">
          {count(norms.keys.length)} layers, {count(nSteps)} steps
        </span>
      </h2>
      {nBad > 0 && (
        <p className="w-text-bad">
          {count(nBad)} {nBad === 1 ? "layer has" : "layers have"} NaN or infinite values.
        </p>
      )}
      {rows.length === 0 ? (
        <Empty>No layer is called that.</Empty>
      ) : (
        <HeatMap
          label={`Norms of ${rows.length} layers over ${nSteps} steps`}
          rows={shown.map(({ key }) => key)}
          columns={norms.steps}
          value={(row, column) => norms.norms[(shown[row]?.at ?? 0) * nSteps + column] ?? Number.NaN}
          isBad={(row, column) => (norms.bad[(shown[row]?.at ?? 0) * nSteps + column] ?? 0) > 0}
          chosen={layer}
          onChoose={onLayer}
        />
      )}
      {shown.length < rows.length && (
        <button type="button" className="w-more" onClick={() => setAll(true)}>
          {count(rows.length - shown.length)} more layers
        </button>
      )}
    </section>
  )
}

function sum(values: Uint32Array, row: number, n: number): number {
  let total = 0
  for (let at = row * n; at < (row + 1) * n; at += 1) total += values[at] ?? 0
  return total
}

function Layer({ runId, kind, layer }: { runId: string; kind: WatchedKind; layer: string }) {
  const answer = useAsked(`${runId} ${kind} ${layer}`, (options) =>
    readHistograms(runId, kind, layer, options),
  )
  return (
    <section aria-labelledby="w-layer">
      <h2 id="w-layer" className="w-section-title w-files-path">
        {visible(layer, 250)}
      </h2>
      <StateOf answer={answer} what="The histograms could not be read" loading={<Loading />}>
        {(found) => <Distribution found={found} />}
      </StateOf>
    </section>
  )
}

function Distribution({ found }: { found: Histograms }) {
  const edges = useMemo(() => commonEdges(found), [found])
  const counts = useMemo(() => rebinned(found, edges), [found, edges])
  const [low, high] = edges
  const last = found.steps.length - 1
  const nBad = sum(found.nan, 0, found.nan.length) + sum(found.inf, 0, found.inf.length)
  const rows = Array.from({ length: BINS }, (_, row) => {
    const from = high - ((row + 1) * (high - low)) / BINS
    return number(from, 3)
  })
  return (
    <>
      <p className="w-secondary">
        Values from {number(low, 4)} to {number(high, 4)}
        {last >= 0 && `, norm ${number(found.norms[last] ?? null, 4)} at step ${count(found.steps[last] ?? 0)}`}
        {nBad > 0 && <span className="w-text-bad"> · {count(nBad)} NaN or infinite</span>}
      </p>
      <HeatMap
        label={`Distribution over ${found.steps.length} steps`}
        rows={rows}
        columns={found.steps}
        rowHeight={5}
        value={(row, column) => counts[column * BINS + (BINS - 1 - row)] ?? 0}
        isBad={() => false}
        unit="values"
      />
    </>
  )
}

/** One axis for all steps: from the smallest of the lower edges to the largest of the upper ones. */
function commonEdges(found: Histograms): [number, number] {
  let low = Number.POSITIVE_INFINITY
  let high = Number.NEGATIVE_INFINITY
  for (const value of found.first) if (Number.isFinite(value) && value < low) low = value
  for (const value of found.last) if (Number.isFinite(value) && value > high) high = value
  return high > low ? [low, high] : [Number.isFinite(low) ? low - 0.5 : -1, Number.isFinite(low) ? low + 0.5 : 1]
}

/** Each step's bins put on the common axis, shares of a bin where it lies across two. */
function rebinned(found: Histograms, [low, high]: [number, number]): Float64Array {
  const to = new Float64Array(found.steps.length * BINS)
  const width = (high - low) / BINS
  for (let step = 0; step < found.steps.length; step += 1) {
    const first = found.first[step] ?? Number.NaN
    const last = found.last[step] ?? Number.NaN
    const own = (last - first) / BINS
    for (let bin = 0; bin < BINS; bin += 1) {
      const n = found.counts[step * BINS + bin] ?? 0
      if (n === 0) continue
      const from = (first + bin * own - low) / width
      const until = own > 0 ? from + own / width : from
      const start = Math.max(0, Math.min(BINS - 1, Math.floor(from)))
      const end = Math.max(start, Math.min(BINS - 1, Math.ceil(until) - 1))
      for (let at = start; at <= end; at += 1) {
        const share =
          until > from ? (Math.min(until, at + 1) - Math.max(from, at)) / (until - from) : 1
        const index = step * BINS + at
        to[index] = (to[index] ?? 0) + n * Math.max(0, end === start ? 1 : share)
      }
    }
  }
  return to
}
