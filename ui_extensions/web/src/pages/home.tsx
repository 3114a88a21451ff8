import "./home.css"

import { useMemo, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import { SearchBox } from "../controls/input"
import { Empty, StateOf } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { StockLink } from "../layout/stock-link"
import { Page } from "../layout/page"
import { go } from "../router"
import { useListVisibility, VisibilityWord } from "../teams/visibility"
import { fuzzyScore } from "../text/fuzzy"
import { ago, count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"

interface Experiment {
  readonly id: string
  readonly name: string
  readonly n_runs: number
  readonly last_update_ms: number | null
}

interface Experiments {
  readonly experiments: readonly Experiment[]
  readonly is_cut: boolean
}

const MOST_TOGETHER = 50

/** Where the side bar's *Workspace* leads when no experiment is chosen: all of them. */
export function Home() {
  const answer = useAnswer<Experiments>("experiments", {})
  return (
    <Page
      id="/"
      title="Workspace"
      actions={
        <>
          <PlaceLink to={{ page: "alerts" }}>Alerts</PlaceLink>
          <PlaceLink to={{ page: "teams" }}>Teams</PlaceLink>
        </>
      }
    >
      <StateOf
        answer={answer}
        what="The experiments could not be listed"
        isEmpty={(data) => data.experiments.length === 0}
        empty={
          <Empty>
            There is no experiment yet. Train something, and it is here.{" "}
            <StockLink to="/experiments">MLflow's experiments</StockLink>
          </Empty>
        }
      >
        {(data) => <List {...data} />}
      </StateOf>
    </Page>
  )
}

/** Experiments, the last changed first: one is opened by its name, several together by their boxes. */
function List({ experiments, is_cut }: Experiments) {
  const [search, setSearch] = useState("")
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const wanted = search.trim().toLowerCase()
  const found = useMemo(
    () =>
      experiments
        .map((one) => ({ one, score: fuzzyScore(visible(one.name), wanted) }))
        .filter(({ score }) => score > 0)
        .sort((a, b) => b.score - a.score)
        .map(({ one }) => one),
    [experiments, wanted],
  )
  const seen = useListVisibility(experiments)
  const toggle = (id: string): void => {
    const next = new Set(chosen)
    if (!next.delete(id)) next.add(id)
    setChosen(next)
  }
  return (
    <div className="w-home">
      <div className="w-home-tools">
        <SearchBox
          label="Search experiments"
          value={search}
          onChange={setSearch}
          onKeyDown={(event) => {
            const [first] = found
            if (event.key === "Enter" && first) go({ page: "workspace", experimentIds: [first.id] })
          }}
        />
        <Button
          kind={chosen.size > 1 ? "primary" : "plain"}
          disabled={chosen.size < 2 || chosen.size > MOST_TOGETHER}
          title={`Choose 2 to ${MOST_TOGETHER} experiments by their boxes`}
          onClick={() => go({ page: "workspace", experimentIds: [...chosen] })}
        >
          {chosen.size > 1 ? `Open ${count(chosen.size)} in one workspace` : "Open in one workspace"}
        </Button>
      </div>
      {found.length === 0 ? (
        <Empty>
          {is_cut ? "None of the last changed ones is called that." : "No experiment is called that."}
        </Empty>
      ) : (
        <table className="w-kv">
          <thead>
            <tr>
              <th scope="col">Experiment</th>
              <th scope="col" className="w-number">
                Runs
              </th>
              <th scope="col" className="w-number">
                Last changed
              </th>
            </tr>
          </thead>
          <tbody>
            {found.map((one) => (
              <tr key={one.id}>
                <td>
                  <span className="w-home-name">
                    <input
                      type="checkbox"
                      aria-label={`Choose ${visible(one.name, NAME_LENGTH)}`}
                      checked={chosen.has(one.id)}
                      onChange={() => toggle(one.id)}
                    />
                    <PlaceLink
                      to={{ page: "workspace", experimentIds: [one.id] }}
                      title={visible(one.name)}
                      dir="auto"
                    >
                      {visible(one.name, NAME_LENGTH)}
                    </PlaceLink>
                    <VisibilityWord of={seen} experimentId={one.id} />
                  </span>
                </td>
                <td className="w-number">{count(one.n_runs)}</td>
                <td className="w-number">{ago(one.last_update_ms)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {is_cut && (
        <p className="w-secondary">
          The {count(experiments.length)} experiments that changed last.{" "}
          <StockLink to="/experiments">MLflow's page has all of them</StockLink>
        </p>
      )}
    </div>
  )
}
