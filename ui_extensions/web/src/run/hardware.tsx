import { useMemo, useState } from "react"

import { Segments } from "../controls/button"
import { Empty } from "../controls/state"
import { visible } from "../text/visible"
import type { TabProps } from "./page"
import { PanelSections } from "./panel-sections"
import { hardwareSections, nodesOf } from "./panels"

/** What the machine and its GPUs did while the run ran. */
export function Hardware({ run }: TabProps) {
  const keys = useMemo(() => run.metrics.map((metric) => metric.key), [run.metrics])
  const nodes = useMemo(() => nodesOf(keys), [keys])
  const [node, setNode] = useState<string | null>(null)
  const [x, setX] = useState<"time" | "step">("time")
  const chosen = node !== null && nodes.includes(node) ? node : (nodes[0] ?? "")
  const sections = useMemo(() => hardwareSections(keys, chosen), [keys, chosen])
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
      <PanelSections run={run} sections={sections} x={x} />
    </>
  )
}
