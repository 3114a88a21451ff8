import "../share/share.css"
import "./reports.css"

import { useMemo, useState } from "react"

import { useAnswer, useAsked } from "../api/use-answer"
import { Button } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { SearchBox } from "../controls/input"
import { Menu } from "../controls/menu"
import { Empty, Failed, StateOf } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { Page } from "../layout/page"
import { go, setQuery, useRoute } from "../router"
import { useVisibility, VisibilityWord } from "../teams/visibility"
import { ago, count, dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Report } from "./api"
import { clone, createReport, deleteReport, listReports } from "./api"
import { TEMPLATES } from "./templates"

const EXPERIMENT = /^[0-9]{1,24}$/
const FIRST_ROWS = 100

/** All reports that the reader may see, or those of one experiment. */
export function ReportsPage() {
  const { query } = useRoute()
  const named = query.get("e") ?? ""
  const experimentId = EXPERIMENT.test(named) ? named : null
  const answer = useAsked(`reports ${experimentId}`, (options) => listReports(experimentId, options))
  const [isMaking, make] = useState(false)
  const button = answer.data?.may_create && (
    <Button kind="primary" icon="plus" isSmall onClick={() => make(true)}>
      New report
    </Button>
  )
  return (
    <Page id="/reports" title="Reports" actions={button}>
      <StateOf
        answer={answer}
        what="The reports could not be listed"
        isEmpty={({ reports }) => reports.length === 0}
        empty={
          <Empty action={button}>
            <p>
              No report{experimentId === null ? "" : " about this experiment"} yet. A report is a page of text, with charts
              and tables of runs that stay live or are frozen as they are.
            </p>
            <p>
              {button ? (
                <>
                  <em>New report</em> begins one; <em>Add to report</em> in a chart’s menu puts that chart into one; and so does
                  Python, with <code>mlflow_weir.reports</code>.
                </>
              ) : (
                "Who may edit this experiment writes them."
              )}
            </p>
          </Empty>
        }
      >
        {({ reports }) => <List reports={reports} experimentId={experimentId} onChanged={answer.retry} />}
      </StateOf>
      {isMaking && <NewReport experimentId={experimentId} onClose={() => make(false)} />}
    </Page>
  )
}

function List({
  reports,
  experimentId,
  onChanged,
}: {
  reports: readonly Report[]
  experimentId: string | null
  onChanged: () => void
}) {
  const [search, setSearch] = useState("")
  const [most, setMost] = useState(FIRST_ROWS)
  const [deleted, askDelete] = useState<Report | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const ids = useMemo(() => [...new Set(reports.flatMap((one) => one.experiment_ids))].slice(0, 200), [reports])
  const names = useNames(ids)
  const { data: seen } = useVisibility(ids)
  const found = useMemo(() => {
    const words = search.trim().toLowerCase()
    const has = (text: string | null | undefined): boolean => (text ?? "").toLowerCase().includes(words)
    return reports.filter(
      (one) => has(one.title) || has(one.created_by) || has(one.saved_by) || one.experiment_ids.some((id) => has(names.get(id))),
    )
  }, [reports, search, names])
  const copy = async (report: Report): Promise<void> => {
    try {
      const made = await clone(report.id, `${report.title.slice(0, 240)} (copy)`)
      go({ page: "report", reportId: made.id, isEdited: true })
    } catch (failure) {
      setError(failure as Error)
    }
  }
  return (
    <>
      <div className="w-share-tools">
        <SearchBox label="Search reports" value={search} onChange={setSearch} />
        <span className="w-secondary" role="status">
          {count(found.length)} of {count(reports.length)}
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
              Reports of all experiments
            </Button>
          </>
        )}
      </div>
      {error && <Failed what="That did not work" error={error} />}
      {found.length === 0 ? (
        <Empty>No report is called that.</Empty>
      ) : (
        <ul className="w-reports">
          {found.slice(0, most).map((report) => (
            <li key={report.id}>
              <div className="w-reports-name">
                <PlaceLink to={{ page: "report", reportId: report.id, isEdited: report.revision === 0 }}>
                  <strong dir="auto">{visible(report.title, NAME_LENGTH)}</strong>
                </PlaceLink>
                {report.revision === 0 && <span className="w-badge">Draft</span>}
                {report.revision > 0 && report.is_changed && report.may_edit && (
                  <span className="w-badge" title="The draft has changes that are not published">
                    Changed
                  </span>
                )}
              </div>
              <div className="w-secondary">
                {report.experiment_ids.slice(0, 3).map((id, at) => (
                  <span key={id}>
                    {at > 0 && ", "}
                    <PlaceLink to={{ page: "workspace", experimentIds: [id] }}>
                      {visible(names.get(id) ?? `experiment ${id}`, 60)}
                    </PlaceLink>{" "}
                    <VisibilityWord of={seen} experimentId={id} />
                  </span>
                ))}
                {report.experiment_ids.length > 3 && ` and ${count(report.experiment_ids.length - 3)} more`}
                {" · "}
                <span title={dateTime(report.saved_ms)}>{ago(report.saved_ms)}</span>
                {report.saved_by && ` · ${visible(report.saved_by, 60)}`}
              </div>
              {report.may_edit && (
                <Menu
                  label={`Menu of ${visible(report.title, 80)}`}
                  button={{ icon: "more", isSmall: true, kind: "quiet", "aria-label": `Menu of ${visible(report.title, 80)}` }}
                  items={[
                    {
                      label: "Edit",
                      icon: "edit",
                      onSelect: () => go({ page: "report", reportId: report.id, isEdited: true }),
                    },
                    { label: "Make a copy", icon: "copy", onSelect: () => void copy(report) },
                    ...(report.may_delete
                      ? [{ label: "Delete…", icon: "trash" as const, onSelect: () => askDelete(report) }]
                      : []),
                  ]}
                />
              )}
            </li>
          ))}
        </ul>
      )}
      {found.length > most && (
        <Button isSmall onClick={() => setMost(most + FIRST_ROWS)}>
          {count(found.length - most)} more
        </Button>
      )}
      {deleted && (
        <DeleteReport
          report={deleted}
          onClose={() => askDelete(null)}
          onDeleted={() => {
            askDelete(null)
            onChanged()
          }}
        />
      )}
    </>
  )
}

export function DeleteReport({
  report,
  onClose,
  onDeleted,
}: {
  report: Report
  onClose: () => void
  onDeleted: () => void
}) {
  const [error, setError] = useState<Error | null>(null)
  return (
    <Dialog
      title="Delete the report?"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="danger" onClick={() => deleteReport(report.id).then(onDeleted, setError)}>
            Delete
          </Button>
        </>
      }
    >
      <p>
        <strong>{visible(report.title, NAME_LENGTH)}</strong> goes with its {count(report.revision)} versions, comments and
        pictures; links to it open no more. The runs stay.
      </p>
      {error && <Failed what="It was not deleted" error={error} />}
    </Dialog>
  )
}

interface Named {
  readonly experiments: readonly { readonly id: string; readonly name: string }[]
}

function useNames(ids: readonly string[]): ReadonlyMap<string, string> {
  const { data } = useAnswer<Named>(ids.length > 0 ? "experiments/names" : null, { experiments: ids })
  return useMemo(() => new Map(data?.experiments.map((one) => [one.id, one.name])), [data])
}

function NewReport({ experimentId, onClose }: { experimentId: string | null; onClose: () => void }) {
  const answer = useAnswer<Named>("experiments", {})
  const [chosen, choose] = useState(experimentId ?? "")
  const [title, setTitle] = useState("")
  const [template, setTemplate] = useState("")
  const [error, setError] = useState<Error | null>(null)
  const [isMaking, setMaking] = useState(false)
  const experiments = answer.data?.experiments ?? []
  const id = chosen || experiments[0]?.id || ""
  const metrics = useAnswer<{ keys: readonly { key: string; n_runs: number }[] }>(id ? "keys" : null, { experiments: [id] })
  const make = async (): Promise<void> => {
    setMaking(true)
    try {
      const keys = (metrics.data?.keys ?? []).filter(({ key }) => !/^(system|gradients|parameters)\//.test(key))
      const found = TEMPLATES.find((one) => one.label === template)
      const document = found?.make([id], [...keys].sort((a, b) => b.n_runs - a.n_runs).map(({ key }) => key)) ?? null
      const report = await createReport([id], title.trim() || "Untitled", document)
      go({ page: "report", reportId: report.id, isEdited: true })
    } catch (failure) {
      setError(failure as Error)
      setMaking(false)
    }
  }
  return (
    <Dialog
      title="New report"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" disabled={id === "" || isMaking || metrics.isLoading} onClick={() => void make()}>
            Begin
          </Button>
        </>
      }
    >
      <form
        className="w-panel-form"
        onSubmit={(event) => {
          event.preventDefault()
          if (id !== "" && !isMaking && !metrics.isLoading) void make()
        }}
      >
        <label className="w-chart-field">
          Title
          <input className="w-input" autoFocus value={title} maxLength={250} placeholder="LR sweep, week 12" onChange={(event) => setTitle(event.target.value)} />
        </label>
        <label className="w-chart-field">
          About the experiment
          <select className="w-input" value={id} onChange={(event) => choose(event.target.value)}>
            {experiments.map((one) => (
              <option key={one.id} value={one.id}>
                {visible(one.name, 100)}
              </option>
            ))}
          </select>
        </label>
        <fieldset className="w-panel-runs">
          <legend>Begin with</legend>
          {[{ label: "", about: "an empty page" }, ...TEMPLATES].map((one) => (
            <label key={one.label} className="w-check">
              <input type="radio" name="template" checked={template === one.label} onChange={() => setTemplate(one.label)} />
              <span>
                {one.label || "Nothing"} <span className="w-secondary">{one.about}</span>
              </span>
            </label>
          ))}
        </fieldset>
        <p className="w-secondary">Whoever may read the experiment may read what is published of it.</p>
      </form>
      {error && <Failed what="The report was not made" error={error} />}
    </Dialog>
  )
}
