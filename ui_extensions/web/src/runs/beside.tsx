/** A table of runs side by side, a line a key. */

import "./compare.css"

import { useMemo, useRef, useState } from "react"

import { useAsked } from "../api/use-answer"
import type { DrawnRun } from "../charts/types"
import { Button } from "../controls/button"
import { Failed, Loading } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { count } from "../text/format"
import { Name } from "../text/name"
import { NAME_LENGTH, visible } from "../text/visible"
import { CompareRow } from "./compare-row"
import type { ComparedLine } from "./comparison"
import { compare, readCompared } from "./comparison"
import { RunDot, StateGlyph } from "./row"

const FIRST_LINES = 40

export function RunName({ run, cause }: { run: DrawnRun; cause?: string | undefined }) {
  const name = visible(run.name || run.id.slice(0, 8), NAME_LENGTH)
  return (
    <span className="w-beside-name">
      <RunDot colour={run.colour} dash={run.dash} isShown />
      <PlaceLink to={{ page: "run", runId: run.id, tab: "overview" }} className="w-cut" aria-label={name}>
        <Name text={name} />
      </PlaceLink>
      <StateGlyph status={run.status} cause={cause} />
    </span>
  )
}

/** @param at As of which moment (ms); null is now. */
export function Beside({
  experimentIds,
  runs,
  parts,
  isBrief,
  at,
  onLines,
}: {
  experimentIds: readonly string[]
  runs: readonly DrawnRun[]
  parts: readonly string[]
  isBrief: boolean
  at: number | null
  /** Told the lines that are shown, all of them. */
  onLines?: (lines: readonly ComparedLine[]) => void
}) {
  const ids = runs.map((run) => run.id)
  const [most, setMost] = useState(FIRST_LINES)
  const answer = useAsked(JSON.stringify([experimentIds, ids, at]), ({ signal }) =>
    readCompared(experimentIds, ids, at, signal ? { signal } : {}),
  )
  // What was there stays while others are asked for.
  const last = useRef(answer.data)
  if (answer.data) last.current = answer.data
  const compared = last.current
  const lines = useMemo(() => {
    const known = new Map((compared ?? []).map((run) => [run.id, run]))
    const inOrder = ids.flatMap((id) => known.get(id) ?? [])
    return compare(inOrder).filter((line) => parts.includes(line.section))
  }, [compared, ids.join(), parts])
  const shown = useMemo(() => (isBrief ? lines.filter((line) => line.differs) : lines), [lines, isBrief])
  onLines?.(shown)
  if (answer.error) return <Failed what="The runs could not be read" error={answer.error} onRetry={answer.retry} />
  if (compared === null) return <Loading label="Loading the comparison" rows={5} />
  if (shown.length === 0) {
    return (
      <p className="w-panel-note">
        {runs.length > 1 ? "These runs are equal in this." : isBrief ? "One run alone differs from none." : "There is nothing to show."}
      </p>
    )
  }
  return (
    <div className="w-report-table" tabIndex={0} role="region" aria-label="Comparison">
      <table className="w-beside-table">
        <thead>
          <tr>
            <th scope="col">Key</th>
            {runs.filter((run) => compared.some((one) => one.id === run.id)).map((run) => (
              <th key={run.id} scope="col">
                <RunName run={run} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.slice(0, most).map((line, place) => (
            <CompareRow
              key={`${line.section} ${line.key}`}
              line={line}
              base={-1}
              rowIndex={place + 2}
              isFirst={shown[place - 1]?.section !== line.section}
            />
          ))}
        </tbody>
      </table>
      {shown.length > most && (
        <Button isSmall kind="quiet" onClick={() => setMost(most + 400)}>
          {count(shown.length - most)} more
        </Button>
      )}
    </div>
  )
}
