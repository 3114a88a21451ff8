/** A chart that somebody looks at goes into a report: an old one, at its end, or a new one. */

import { useState } from "react"

import { useAsked } from "../api/use-answer"
import type { CardLayout } from "../charts/types"
import { titleOf } from "../charts/sections"
import { SECTIONS } from "../runs/comparison"
import { Button, Segments } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { Failed, Loading } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { ago, count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Report } from "./api"
import { appendTo, createReport, listReports } from "./api"
import type { Node, Panel, RunSet } from "./document"

const MOST_LISTED = 200

/** A panel with one chart on some runs; what is no chart has a kind of its own in a report. */
export function panelOfCard(card: CardLayout, runs: RunSet): Panel {
  const { text, isOwn, parts, isWhole, ...rest } = card
  const title = card.title ?? ""
  if (card.kind === "media") return { kind: "media", title, runs, keys: card.keys }
  if (card.kind === "compare") {
    const sections = parts ?? SECTIONS.map((one) => one.value)
    return { kind: "compare", title, runs, parts: sections, differences: isWhole !== true }
  }
  return { kind: "charts", title: "", runs, cards: [{ ...rest, ...(text && { text }), ...(isOwn && { isOwn }), w: 1 }], settings: null }
}

export function AddDialog({
  card,
  sets,
  nowMs,
  onClose,
}: {
  card: CardLayout
  /** What the chart may show, the first one by default. */
  sets: readonly { readonly label: string; readonly runs: RunSet }[]
  /** The server's clock. */
  nowMs: number
  onClose: () => void
}) {
  const [first] = sets
  const [set, setSet] = useState(first?.label ?? "")
  const [isFrozen, setFrozen] = useState(false)
  const [target, setTarget] = useState<string | null>(null)
  const [title, setTitle] = useState("")
  const [made, setMade] = useState<Report | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const [isAdding, setAdding] = useState(false)
  const runs = sets.find((one) => one.label === set)?.runs ?? first?.runs
  const answer = useAsked("reports", (options) => listReports(null, options))
  const found = (answer.data?.reports ?? [])
    .filter((one) => one.may_edit && runs?.experiments.some((id) => one.experiment_ids.includes(id)))
    .slice(0, MOST_LISTED)
  const chosen = target ?? found[0]?.id ?? ""
  const add = async (): Promise<void> => {
    if (runs === undefined) return
    setAdding(true)
    setError(null)
    try {
      const panel = panelOfCard(card, { ...runs, at: isFrozen ? (runs.at ?? nowMs) : runs.at })
      const nodes: Node[] = [{ type: "panel", attrs: { panel } }]
      const report =
        chosen === ""
          ? await createReport(runs.experiments, title.trim() || "Untitled", { type: "doc", content: nodes })
          : await appendTo(chosen, nodes)
      setMade(report)
    } catch (failure) {
      setError(failure instanceof Error ? failure : new Error(String(failure)))
    } finally {
      setAdding(false)
    }
  }
  if (made !== null) {
    return (
      <Dialog title="Added" onClose={onClose} footer={<Button onClick={onClose}>Stay here</Button>}>
        <p role="status">
          {visible(titleOf(card), 100)} is at the end of the draft of{" "}
          <PlaceLink to={{ page: "report", reportId: made.id, isEdited: true }}>{visible(made.title, NAME_LENGTH)}</PlaceLink>.
        </p>
      </Dialog>
    )
  }
  return (
    <Dialog
      title={`Add to report: ${visible(titleOf(card), 80)}`}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" disabled={answer.isLoading || isAdding} onClick={() => void add()}>
            Add
          </Button>
        </>
      }
    >
      <div className="w-panel-form">
        {answer.isLoading ? (
          <Loading label="Loading the reports" rows={2} />
        ) : (
          <label className="w-chart-field">
            Report
            <select className="w-input" value={chosen} onChange={(event) => setTarget(event.target.value)}>
              {found.map((one) => (
                <option key={one.id} value={one.id}>
                  {visible(one.title, 100)} ({ago(one.saved_ms)})
                </option>
              ))}
              <option value="">A new report</option>
            </select>
          </label>
        )}
        {chosen === "" && (
          <label className="w-chart-field">
            Title
            <input className="w-input" value={title} maxLength={250} placeholder="Untitled" onChange={(event) => setTitle(event.target.value)} />
          </label>
        )}
        {sets.length > 1 && (
          <Segments label="Runs" value={set} options={sets.map(({ label }) => ({ value: label, label }))} onChange={setSet} />
        )}
        {runs?.at === null && (
          <Segments
            label="Live or frozen"
            value={isFrozen ? "frozen" : "live"}
            options={[
              { value: "live", label: "Live" },
              { value: "frozen", label: "Frozen as of now" },
            ]}
            onChange={(value) => setFrozen(value === "frozen")}
          />
        )}
        {runs?.ids && <p className="w-secondary">{count(runs.ids.length)} runs by name.</p>}
      </div>
      {error && <Failed what="It was not added" error={error} />}
    </Dialog>
  )
}
