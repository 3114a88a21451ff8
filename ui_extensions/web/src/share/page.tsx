import "./share.css"

import { useMemo, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { SearchBox } from "../controls/input"
import { Empty, StateOf } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { Page } from "../layout/page"
import { setQuery, useRoute } from "../router"
import { useVisibility } from "../teams/visibility"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import { Button } from "../controls/button"
import type { Share, Shares } from "./api"
import { ShareRow } from "./row"
import { useShares } from "./shares"

const EXPERIMENT = /^[0-9]{1,24}$/
const ROWS_FIRST = 200

/** All links into experiments that the caller may edit: what they show, who looked, and how to end them. */
export function SharedPage() {
  const { query } = useRoute()
  const named = query.get("e") ?? ""
  const experimentId = EXPERIMENT.test(named) ? named : null
  const answer = useShares(experimentId)
  return (
    <Page id="/shared" title="Shared">
      <StateOf
        answer={answer}
        what="The links could not be listed"
        isEmpty={({ shares }) => shares.length === 0}
        empty={
          <>
            {answer.data && <Policy server={answer.data} />}
            <Empty>
              Nothing is shared{experimentId === null ? "" : " of this experiment"}. <em>Share</em> in a
              workspace or on a run’s page makes a link that opens for whoever has it.
            </Empty>
          </>
        }
      >
        {(data) => (
          <>
            <Policy server={data} />
            <List shares={data.shares} sites={data.embed ?? NO_SITES} experimentId={experimentId} />
          </>
        )}
      </StateOf>
    </Page>
  )
}

const NO_SITES: readonly string[] = []

function Policy({ server }: { server: Shares }) {
  const words = {
    off: "Links are switched off on this server (WEIR_PUBLIC_LINKS=off): none of these opens.",
    authenticated: "On this server links open for those alone who can sign in to it.",
    on: null,
  }[server.policy]
  return words === null ? null : <p className="w-share-policy">{words}</p>
}

function List({
  shares,
  sites,
  experimentId,
}: {
  shares: readonly Share[]
  /** Whose pages may show links in a frame. */
  sites: readonly string[]
  experimentId: string | null
}) {
  const [search, setSearch] = useState("")
  const [most, setMost] = useState(ROWS_FIRST)
  const ids = useExperiments(shares)
  const names = useNames(ids)
  const { data: seen } = useVisibility(ids)
  const found = useMemo(() => {
    const words = search.trim().toLowerCase()
    return shares.filter(
      (one) =>
        one.title.toLowerCase().includes(words) ||
        (one.created_by ?? "").toLowerCase().includes(words) ||
        one.experiment_ids.some((id) => names.get(id)?.toLowerCase().includes(words)),
    )
  }, [shares, search, names])
  const nActive = shares.filter((one) => one.state === "active").length
  return (
    <>
      <div className="w-share-tools">
        <SearchBox label="Search links" value={search} onChange={setSearch} />
        <span className="w-secondary" role="status">
          {count(nActive)} of {count(shares.length)} active
        </span>
        {experimentId !== null && (
          <>
            <span className="w-cut">
              Of{" "}
              <PlaceLink to={{ page: "workspace", experimentIds: [experimentId] }}>
                {visible(names.get(experimentId) ?? `experiment ${experimentId}`, NAME_LENGTH)}
              </PlaceLink>
            </span>
            <Button isSmall icon="close" onClick={() => setQuery(new URLSearchParams())}>
              Links of all experiments
            </Button>
          </>
        )}
      </div>
      {found.length === 0 ? (
        <Empty>No link is called that.</Empty>
      ) : (
        <table className="w-kv w-share-table">
          <thead>
            <tr>
              <th scope="col">Link</th>
              <th scope="col">State</th>
              <th scope="col">Made</th>
              <th scope="col">Ends</th>
              <th scope="col" className="w-number">
                Visits
              </th>
              <th scope="col">Last seen</th>
              <th scope="col">
                <span className="w-hidden-text">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, most).map((share) => (
              <ShareRow key={share.id} share={share} sites={sites} names={names} seen={seen} />
            ))}
          </tbody>
        </table>
      )}
      {found.length > most && (
        <Button isSmall onClick={() => setMost(most + ROWS_FIRST)}>
          {count(found.length - most)} more
        </Button>
      )}
    </>
  )
}

const MOST_NAMED = 200

function useExperiments(shares: readonly Share[]): readonly string[] {
  return useMemo(() => [...new Set(shares.flatMap((one) => one.experiment_ids))].slice(0, MOST_NAMED), [shares])
}

/** Names of the experiments; without one where it cannot be read. */
function useNames(ids: readonly string[]): ReadonlyMap<string, string> {
  const { data } = useAnswer<{ experiments: readonly { id: string; name: string }[] }>(
    ids.length > 0 ? "experiments/names" : null,
    { experiments: ids },
  )
  return useMemo(() => new Map(data?.experiments.map((one) => [one.id, one.name])), [data])
}
