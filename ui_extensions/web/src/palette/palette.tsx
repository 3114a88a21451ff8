import "./palette.css"

import { useMemo, useRef, useState, useEffect } from "react"

import { useAnswer, useAsked } from "../api/use-answer"
import type { Choice } from "../controls/combobox"
import { Combobox } from "../controls/combobox"
import { listReports } from "../reports/api"
import { go } from "../router"
import { fuzzyScore } from "../text/fuzzy"
import { ago, count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import { pastedId, useFoundRuns } from "../runs/find-runs"
import { useListVisibility, VisibilityWord } from "../teams/visibility"
import { listViews } from "../view/api"
import { paletteSource } from "./commands"

const MOST_OF_A_KIND = 8

interface Target extends Choice {
  readonly go: () => void
}

interface Experiments {
  readonly experiments: readonly { readonly id: string; readonly name: string; readonly n_runs: number }[]
}

/** The best of some by what is typed; all in their order where nothing is. */
function best(targets: readonly Target[], wanted: string): Target[] {
  return targets
    .map((target) => ({ target, score: fuzzyScore(target.label, wanted) }))
    .filter((one) => one.score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, MOST_OF_A_KIND)
    .map((one) => one.target)
}

/** Go to a run, an experiment or a metric, or do something, by typing some of its name. */
export function Palette({ onClose }: { onClose: () => void }) {
  const box = useRef<HTMLDialogElement>(null)
  const [text, setText] = useState("")
  // What the page offers now: it does not change while this is open.
  const [source] = useState(paletteSource)
  const { experimentIds, showMetric } = source
  const experiments = useAnswer<Experiments>("experiments", {})
  const keys = useAnswer<{ keys: readonly { key: string; n_runs: number }[] }>(
    showMetric && experimentIds.length > 0 ? "keys" : null,
    { experiments: experimentIds },
  )
  const all = useMemo(() => experiments.data?.experiments ?? [], [experiments.data])
  const searched = useMemo(
    () => (experimentIds.length > 0 ? experimentIds : all.map((one) => one.id)),
    [experimentIds, all],
  )
  const views = useAsked(experimentIds.length > 0 ? `views ${experimentIds.join()}` : null, (options) =>
    listViews(experimentIds, options),
  )
  const reports = useAsked("reports", (options) => listReports(null, options))
  const found = useFoundRuns(searched, text)
  const seen = useListVisibility(all)
  useEffect(() => {
    const shown = box.current
    if (shown && !shown.open) shown.showModal?.()
    return () => shown?.close?.()
  }, [])
  const wanted = text.trim().toLowerCase()
  const targets = useMemo((): Target[] => {
    const pasted = pastedId(text)
    const runs: Target[] =
      pasted !== null
        ? [
            {
              id: `run ${pasted}`,
              label: pasted,
              icon: "chart",
              group: "The run of this id",
              go: () => go({ page: "run", runId: pasted, tab: "overview" }),
            },
          ]
        : found.rows.slice(0, MOST_OF_A_KIND).map((row) => ({
            id: `run ${row.id}`,
            label: visible(row.name || row.id, NAME_LENGTH),
            about: `${row.status === "FINISHED" ? "" : `${row.status.toLowerCase()}, `}${ago(row.start)}`,
            icon: "chart",
            group: "Runs",
            go: () => go({ page: "run", runId: row.id, tab: "overview" }),
          }))
    const commands = source.commands.map(
      (one, at): Target => ({
        id: `command ${at}`,
        label: one.label,
        group: "Actions",
        go: one.run,
        ...(one.about && { about: one.about }),
        ...(one.icon && { icon: one.icon }),
      }),
    )
    const metrics = (keys.data?.keys ?? []).map(
      ({ key, n_runs }): Target => ({
        id: `metric ${key}`,
        label: visible(key, NAME_LENGTH),
        about: `${count(n_runs)} ${n_runs === 1 ? "run" : "runs"}`,
        icon: "sort",
        group: "Charts",
        go: () => showMetric?.(key),
      }),
    )
    const places = all.map(
      (one): Target => ({
        id: `experiment ${one.id}`,
        label: visible(one.name, NAME_LENGTH),
        about: `${count(one.n_runs)} ${one.n_runs === 1 ? "run" : "runs"}`,
        icon: "folder",
        group: "Experiments",
        beside: <VisibilityWord of={seen} experimentId={one.id} />,
        go: () => go({ page: "workspace", experimentIds: [one.id] }),
      }),
    )
    const named = (views.data?.named ?? []).map(
      (one): Target => ({
        id: `view ${one.id}`,
        label: visible(one.name, NAME_LENGTH),
        about: ago(one.at),
        icon: "eye",
        group: "Views",
        go: () => go({ page: "workspace", experimentIds: [...experimentIds] }, new URLSearchParams({ v: `${one.id}@${one.revision}` })),
      }),
    )
    const written = (reports.data?.reports ?? []).map(
      (one): Target => ({
        id: `report ${one.id}`,
        label: visible(one.title || "Untitled", NAME_LENGTH),
        about: ago(one.saved_ms),
        icon: "file",
        group: "Reports",
        go: () => go({ page: "report", reportId: one.id, isEdited: false }),
      }),
    )
    const pages: Target[] = [
      { id: "page reports", label: "Reports", icon: "file", group: "Pages", go: () => go({ page: "reports" }) },
      { id: "page shared", label: "Shared links", icon: "link", group: "Pages", go: () => go({ page: "shared" }) },
      { id: "page alerts", label: "Alerts", icon: "warning", group: "Pages", go: () => go({ page: "alerts" }) },
      { id: "page teams", label: "Teams", icon: "group", group: "Pages", go: () => go({ page: "teams" }) },
    ]
    return [
      ...runs,
      ...(wanted === "" ? [] : best(metrics, wanted)),
      ...best(named, wanted),
      ...best(written, wanted),
      ...best(commands, wanted),
      ...best(pages, wanted),
      ...best(places, wanted),
    ]
  }, [all, experimentIds, found.rows, keys.data, reports.data, seen, showMetric, source.commands, text, views.data, wanted])
  const error = experiments.error ?? found.error
  return (
    <dialog
      ref={box}
      className="w-palette"
      aria-label="Go to"
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onClick={(event) => {
        if (event.target === event.currentTarget) onClose()
      }}
    >
      <Combobox
        label="Go to a run, experiment, chart or action"
        text={text}
        onText={setText}
        choices={targets}
        isAlwaysOpen
        onChoose={(target) => {
          onClose()
          target.go()
        }}
        note={
          error
            ? `Not all could be searched: ${error.message}`
            : found.isAsking
              ? "…"
              : targets.length === 0
                ? "Nothing is called that."
                : null
        }
      />
    </dialog>
  )
}
