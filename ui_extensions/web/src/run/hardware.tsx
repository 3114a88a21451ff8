import { useMemo, useState } from "react"

import { Segments } from "../controls/button"
import { Empty } from "../controls/state"
import { count, duration } from "../text/format"
import { visible } from "../text/visible"
import type { TabProps } from "./tab-props"
import type { Band, Phase } from "./bands"
import { phasesOf, steppedMetric, validationBands, validationMetric } from "./bands"
import type { PanelX } from "./history"
import { useHistories, useRunNews } from "./history"
import { PanelSections } from "./panel-sections"
import { hardwareSections, nodesOf } from "./panels"

/** What the machine and its GPUs did while the run ran. */
export function Hardware({ run }: TabProps) {
  const keys = useMemo(() => run.metrics.map((metric) => metric.key), [run.metrics])
  const nodes = useMemo(() => nodesOf(keys), [keys])
  const [node, setNode] = useState<string | null>(null)
  const [x, setX] = useState<PanelX>("time")
  const chosen = node !== null && nodes.includes(node) ? node : (nodes[0] ?? "")
  const sections = useMemo(() => hardwareSections(keys, chosen), [keys, chosen])
  useRunNews(run)
  const stepped = steppedMetric(run)
  const validated = validationMetric(run)
  const timed = [...new Set([stepped, validated])].filter((key) => key !== null)
  const { histories } = useHistories(run, timed, "time", timed.length > 0)
  const first = (stepped !== null && histories?.get(stepped)?.x[0]) || null
  const phases = useMemo(
    () => (stepped !== null && first === null ? [] : phasesOf(run, first)),
    [run, stepped, first],
  )
  const validations = useMemo(() => {
    const training = stepped === null ? undefined : histories?.get(stepped)
    const validation = validated === null ? undefined : histories?.get(validated)
    return training && validation ? validationBands(training, validation) : []
  }, [histories, stepped, validated])
  const bands = useMemo(() => [...phases, ...validations], [phases, validations])
  if (nodes.length === 0) {
    return (
      <Empty>
        Nothing was measured of this run's machine. Weir samples GPUs, processor and memory while a run
        is open; <code>weir doctor</code> says what it can see here.
      </Empty>
    )
  }
  return (
    <>
      <div className="w-toolbar">
        {nodes.length > 1 && (
          <select
            className="w-input"
            aria-label="Machine"
            value={chosen}
            onChange={(event) => setNode(event.target.value)}
          >
            {nodes.map((one) => (
              <option key={one} value={one}>
                {visible(one || "the run's own", 100)}
              </option>
            ))}
          </select>
        )}
        <Segments
          label="X axis"
          value={x}
          onChange={setX}
          options={[
            { value: "time", label: "Time" },
            { value: "step", label: "Sample" },
          ]}
        />
      </div>
      {x === "time" && phases.length > 0 && <Phases phases={phases} validations={validations} />}
      <PanelSections run={run} sections={sections} x={x} phases={bands} />
    </>
  )
}

/** How long each phase took; the colours are those of the strips on the panels. */
function Phases({ phases, validations }: { phases: readonly Phase[]; validations: readonly Band[] }) {
  const n = validations.length
  return (
    <ul className="w-phases" aria-label="Phases of the run">
      {phases.map((phase) => (
        <li key={phase.tone}>
          <span className={`w-phase w-phase-${phase.tone}`} aria-hidden="true" />
          {phase.label} <span className="w-secondary">{duration(phase.to - phase.from)}</span>
        </li>
      ))}
      {n > 0 && (
        <li title="From the last point of the training that was logged to that of the validation">
          <span className="w-phase w-phase-validation" aria-hidden="true" />
          Of them {n === 1 ? "a validation" : `${count(n)} validations`}{" "}
          <span className="w-secondary">
            {duration(validations.reduce((sum, band) => sum + band.to - band.from, 0))}
          </span>
        </li>
      )}
    </ul>
  )
}
