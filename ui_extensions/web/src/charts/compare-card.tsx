/** The first visible runs side by side: what differs between them. */

import { Suspense, useMemo, useRef } from "react"

import { later } from "../controls/later"
import { Empty, Loading } from "../controls/state"
import { useAsOf } from "../data/as-of"
import type { ComparedLine } from "../runs/comparison"
import { SECTIONS } from "../runs/comparison"
import { count } from "../text/format"
import { CardFrame } from "./card-frame"
import { saveCsv } from "./figure-files"
import type { PanelProps } from "./panel-props"
import { titleOf } from "./sections"

const Beside = later(async () => (await import("../runs/beside")).Beside)
/** More cannot be read beside each other; the comparer has up to 50. */
const MOST = 20
const ALL: readonly string[] = SECTIONS.map((one) => one.value)

export function CompareCard(props: PanelProps) {
  const { card, experimentIds, onCard } = props
  const visibleRuns = useMemo(() => props.runs.filter((run) => run.isVisible && !run.isPending), [props.runs])
  const runs = useMemo(() => visibleRuns.slice(0, MOST), [visibleRuns])
  const title = titleOf(card)
  const lines = useRef<readonly ComparedLine[]>([])
  const at = useAsOf()
  const isWhole = card.isWhole === true
  const items = [
    {
      label: "Differences only",
      isChecked: !isWhole,
      onSelect: () => onCard({ isWhole: isWhole ? undefined : true }),
    },
    {
      label: "Save as CSV",
      isFirstOfGroup: true,
      onSelect: () =>
        saveCsv(
          ["section", "key", ...runs.map((run) => run.name)],
          lines.current.map((line) => [line.section, line.key, ...line.cells.map((cell) => cell.value)]),
          title,
        ),
    },
    ...props.items,
  ]
  const nMore = visibleRuns.length - runs.length
  return (
    <CardFrame
      {...props}
      items={items}
      kind="compare"
      title={title}
      foot={nMore > 0 && <span className="w-foot-note">the first {count(runs.length)} of {count(visibleRuns.length)} runs</span>}
    >
      {runs.length === 0 ? (
        <Empty>No run is shown.</Empty>
      ) : (
        <Suspense fallback={<Loading label="Loading the comparison" rows={5} />}>
          <Beside
            experimentIds={experimentIds}
            runs={runs}
            parts={card.parts ?? ALL}
            isBrief={!isWhole}
            at={at}
            onLines={(found) => {
              lines.current = found
            }}
          />
        </Suspense>
      )}
    </CardFrame>
  )
}
