/** The experiments that a report is about, where its title is: their names, and who may see them. */

import type { ReactNode } from "react"

import { useAnswer } from "../api/use-answer"
import { PlaceLink } from "../layout/link"
import { VisibilityBadge } from "../teams/badge"
import { useVisibility, VisibilityWord } from "../teams/visibility"
import { visible } from "../text/visible"

const NONE: readonly string[] = []

export interface Above {
  readonly crumbs: readonly { key: string; content: ReactNode }[]
  /** Of one experiment, on the title's line; several have a word each behind their names. */
  readonly beside: ReactNode
}

/** @param ids Undefined before they are known. */
export function useReportExperiments(ids: readonly string[] = NONE): Above {
  const names = useAnswer<{ experiments: readonly { id: string; name: string }[] }>(
    ids.length > 0 ? "experiments/names" : null,
    { experiments: ids },
  )
  const seen = useVisibility(ids.length > 1 ? ids : NONE)
  const nameOf = (id: string): string =>
    names.data?.experiments.find((one) => one.id === id)?.name ?? `experiment ${id}`
  const [only] = ids.length === 1 ? ids : NONE
  const link = (
    <PlaceLink to={{ page: "workspace", experimentIds: [...ids] }}>
      {ids.map((id, at) => (
        <span key={id}>
          {at > 0 && ", "}
          {visible(nameOf(id), 100)} <VisibilityWord of={seen.data} experimentId={id} />
        </span>
      ))}
    </PlaceLink>
  )
  return {
    crumbs: [
      { key: "reports", content: <PlaceLink to={{ page: "reports" }}>Reports</PlaceLink> },
      ...(ids.length > 0 ? [{ key: "experiment", content: link }] : []),
    ],
    beside: only !== undefined && <VisibilityBadge experimentId={only} name={nameOf(only)} />,
  }
}
