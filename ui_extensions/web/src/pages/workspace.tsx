import { useMemo, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { ChartGrid } from "../charts/grid"
import { ChartToolbar } from "../charts/toolbar"
import type { DrawnRun } from "../charts/types"
import { DEFAULT_SETTINGS, EMPTY_LAYOUT } from "../charts/types"
import { SearchBox } from "../controls/input"
import { StateOf } from "../controls/state"
import { StockLink } from "../layout/link"
import { Page } from "../layout/page"
import { visible } from "../text/visible"
import { useTheme } from "../theme"

const COLOURS = {
  light: ["#2272b4", "#d44567", "#673702", "#879f18", "#421792", "#346d26", "#970d63", "#cb71df"],
  dark: ["#4299e0", "#ff6c8b", "#8b592c", "#abc54b", "#7154ce", "#57914a", "#c03e86", "#e7a3f7"],
}

interface Row {
  id: string
  name: string
  ordinal: number
  status: string
  start: number | null
  end: number | null
  experiment: string
}

/** The workspace of one experiment or several. */
export function Workspace({ experimentIds }: { experimentIds: string[] }) {
  const [first = "0"] = experimentIds
  const answer = useAnswer<{ rows: Row[] }>("runs", {
    experiments: experimentIds,
    limit: 1_000,
    ids: false,
  })
  const theme = useTheme()
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set())
  const [settings, setSettings] = useState(DEFAULT_SETTINGS)
  const [layout, setLayout] = useState(EMPTY_LAYOUT)
  const [search, setSearch] = useState("")
  const [raised, raise] = useState<string | null>(null)
  const runs = useMemo(
    () =>
      (answer.data?.rows ?? []).map(
        (row): DrawnRun => ({
          id: row.id,
          name: row.name,
          ordinal: row.ordinal,
          colour: COLOURS[theme][row.ordinal % 8] as string,
          dash: (Math.floor(row.ordinal / 8) % 3) as 0 | 1 | 2,
          status: row.status,
          startMs: row.start,
          endMs: row.end,
          isVisible: !hidden.has(row.id),
          experimentId: row.experiment,
        }),
      ),
    [answer.data, hidden, theme],
  )
  return (
    <Page id={`/e/${experimentIds.join(",")}`} title="Workspace">
      <StockLink to={`/experiments/${first}/runs`}>The runs in MLflow</StockLink>
      <StateOf answer={answer} what="The runs could not be read">
        {() => (
          <div className="w-plain-workspace">
            <ul>
              {runs.map((run) => (
                <li key={run.id} onPointerEnter={() => raise(run.id)} onPointerLeave={() => raise(null)}>
                  <button
                    type="button"
                    aria-pressed={run.isVisible}
                    aria-label={`Draw ${visible(run.name)}`}
                    onClick={() =>
                      setHidden((before) => {
                        const next = new Set(before)
                        if (!next.delete(run.id)) next.add(run.id)
                        return next
                      })
                    }
                  >
                    {visible(run.name, 30)}
                  </button>
                </li>
              ))}
            </ul>
            <div>
              <SearchBox label="Search charts" value={search} onChange={setSearch} />
              <ChartToolbar
                settings={settings}
                onSettings={(patch) => setSettings((now) => ({ ...now, ...patch }))}
              />
              <ChartGrid
                experimentIds={experimentIds}
                runs={runs}
                settings={settings}
                onSettings={(patch) => setSettings((now) => ({ ...now, ...patch }))}
                layout={layout}
                onLayout={setLayout}
                search={search}
                raised={raised}
                onRaise={raise}
                live
              />
            </div>
          </div>
        )}
      </StateOf>
    </Page>
  )
}
