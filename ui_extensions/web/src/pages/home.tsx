import { StateOf, Empty } from "../controls/state"
import { useAnswer } from "../api/use-answer"
import { Page } from "../layout/page"
import { PlaceLink, StockLink } from "../layout/link"
import { ago, count } from "../text/format"
import { visible, NAME_LENGTH } from "../text/visible"
import "./home.css"

interface Experiments {
  experiments: { id: string; name: string; n_runs: number; last_update_ms: number | null }[]
  total: number
}

/** Where the side bar's *Workspace* leads when no experiment is chosen: all of them. */
export function Home() {
  const answer = useAnswer<Experiments>("experiments", {})
  return (
    <Page id="/" title="Workspace">
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
        {(data) => (
          <table className="w-kv w-home">
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
              {data.experiments.map((one) => (
                <tr key={one.id}>
                  <td>
                    <PlaceLink to={{ page: "workspace", experimentIds: [one.id] }}>
                      {visible(one.name, NAME_LENGTH)}
                    </PlaceLink>
                  </td>
                  <td className="w-number">{count(one.n_runs)}</td>
                  <td className="w-number">{ago(one.last_update_ms)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </StateOf>
    </Page>
  )
}
