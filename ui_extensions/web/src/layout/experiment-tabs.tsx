import type { ReactNode } from "react"

import { Tabs } from "../controls/tabs"
import { linkTo, setQuery, useRoute } from "../router"
import { VisibilityBadge } from "../teams/badge"
import { visible } from "../text/visible"

export interface ExperimentName {
  readonly id: string
  readonly name: string
}

const EXPERIMENT = /^[0-9]{1,24}$/

/** The experiment that a page's address names; null where it is about all of them. */
export function useNamedExperiment(): string | null {
  const named = useRoute().query.get("e") ?? ""
  return EXPERIMENT.test(named) ? named : null
}

interface Props<Id extends string> {
  page: "alerts" | "teams"
  /** What no experiment stands for. */
  all: string
  experiments: readonly ExperimentName[]
  /** By id, in order; the first is shown where the address names none. */
  labels: Readonly<Record<Id, string>>
  children: (tab: Id) => ReactNode
}

/** Tabs of a page that is about one experiment, or about all; the address has which. */
export function ExperimentTabs<Id extends string>({ page, all, experiments, labels, children }: Props<Id>) {
  const experimentId = useNamedExperiment()
  const ids = Object.keys(labels) as Id[]
  const first = ids[0] as Id
  const asked = useRoute().query.get("tab") as Id
  const tab = ids.includes(asked) ? asked : first
  const panelId = `w-${page}-panel`
  const to = (id: Id, e: string | null): URLSearchParams => {
    const next = new URLSearchParams()
    if (e !== null) next.set("e", e)
    if (id !== first) next.set("tab", id)
    return next
  }
  return (
    <>
      <div className="w-share-tools">
        <label className="w-teams-of">
          Of{" "}
          <select
            className="w-input"
            value={experimentId ?? ""}
            onChange={(event) => setQuery(to(tab, event.target.value || null))}
          >
            <option value="">{all}</option>
            {experimentId !== null && !experiments.some((one) => one.id === experimentId) && (
              <option value={experimentId}>{`experiment ${experimentId}`}</option>
            )}
            {experiments.map((one) => (
              <option key={one.id} value={one.id}>
                {visible(one.name, 80)}
              </option>
            ))}
          </select>
        </label>
        {experimentId !== null && (
          <VisibilityBadge
            experimentId={experimentId}
            name={experiments.find((one) => one.id === experimentId)?.name ?? `experiment ${experimentId}`}
          />
        )}
      </div>
      <Tabs
        label={`Of ${page}`}
        panelId={panelId}
        selected={tab}
        onSelect={(id) => setQuery(to(id, experimentId))}
        tabs={ids.map((id) => ({ id, label: labels[id], href: linkTo({ page }, to(id, experimentId)) }))}
      />
      <div className="w-teams-panel" id={panelId} role="tabpanel" aria-labelledby={`${panelId}-${tab}`} tabIndex={-1}>
        {children(tab)}
      </div>
    </>
  )
}
