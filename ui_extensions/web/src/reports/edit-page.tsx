import "./reports.css"

import { useCallback, useEffect, useMemo, useRef, useState } from "react"

import { useAsked } from "../api/use-answer"
import { Button } from "../controls/button"
import { Failed, StateOf } from "../controls/state"
import { Menu } from "../controls/menu"
import { Page } from "../layout/page"
import { go } from "../router"
import { dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { ReadReport, Report } from "./api"
import { addPicture, createReport, publish, readReport, restore } from "./api"
import { ConflictDialog } from "./conflict"
import type { Node, Panel } from "./document"
import { panelOf } from "./document"
import type { EditorHandle } from "./editor"
import { ReportEditor } from "./editor"
import { useReportExperiments } from "./experiments"
import { PanelDialog } from "./panel-dialog"
import { PictureSource } from "./pictures"
import type { Content, Saving } from "./saving"
import { forgetKept, readKept, Saver } from "./saving"
import { VersionsDialog } from "./versions"

/** The draft of a report, written and saved. */
export function EditPage({ reportId }: { reportId: string }) {
  const answer = useAsked(`draft ${reportId}`, (options) => readReport(reportId, { draft: true }, options))
  return answer.data === null ? (
    <Page id={`/reports/${reportId}/edit`} title="Report">
      <StateOf answer={answer} what="The report could not be read">
        {() => null}
      </StateOf>
    </Page>
  ) : (
    <Draft found={answer.data} />
  )
}

function Draft({ found }: { found: ReadReport }) {
  const { id } = found.report
  const source = useMemo(() => ({ id }), [id])
  const above = useReportExperiments(found.report.experiment_ids)
  // What this browser kept of the same draft goes on; of an older one it is a conflict.
  const [begun] = useState(() => begin(found))
  const [report, setReport] = useState<Report>(found.report)
  const [title, setTitle] = useState(begun.content.title)
  const [shown, show] = useState<{ key: number; document: Node }>({ key: 0, document: begun.content.document })
  const [saving, setSaving] = useState<Saving>({ kind: "saved", atMs: found.at_ms })
  const [panel, setPanel] = useState<{ pos: number | null; panel: Panel | null } | null>(null)
  const [asksVersions, askVersions] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const handle = useRef<EditorHandle | null>(null)
  const latestTitle = useRef(title)
  latestTitle.current = title
  const latestShown = useRef(shown)
  latestShown.current = shown
  const content = useCallback(
    (): Content => ({ title: latestTitle.current, document: handle.current?.document() ?? latestShown.current.document }),
    [],
  )
  const [saver] = useState(
    () =>
      new Saver({ ...found.report, draft: begun.draft }, content, (state, now) => {
        setSaving(state)
        setReport(now)
      }),
  )
  useEffect(() => {
    if (begun.isKept) saver.changed()
    const leave = (event: BeforeUnloadEvent): void => {
      saver.leave()
      if (saver.isDirty) event.preventDefault()
    }
    window.addEventListener("beforeunload", leave)
    return () => {
      window.removeEventListener("beforeunload", leave)
      void saver.flush()
    }
  }, [saver, begun])
  const replace = (next: Content, now: Report): void => {
    saver.follow(now)
    setTitle(next.title)
    handle.current = null
    show((before) => ({ key: before.key + 1, document: next.document }))
  }
  const attempt = async (does: () => Promise<unknown>): Promise<void> => {
    setError(null)
    try {
      await does()
    } catch (failure) {
      setError(failure instanceof Error ? failure : new Error(String(failure)))
    }
  }
  const onReady = useCallback((made: EditorHandle) => {
    handle.current = made
  }, [])
  const onChange = useCallback(() => saver.changed(), [saver])
  const onPanel = useCallback((pos: number | null) => {
    const node = pos === null ? null : handle.current?.editor.state.doc.nodeAt(pos)
    setPanel({ pos, panel: node ? panelOf({ type: "panel", attrs: node.attrs }) : null })
  }, [])
  const onPicture = useCallback(
    async (file: File): Promise<string | null> => {
      try {
        return await addPicture(id, file)
      } catch (failure) {
        setError(failure instanceof Error ? failure : new Error(String(failure)))
        return null
      }
    },
    [id],
  )
  const put = (made: Panel): void => {
    const editor = handle.current?.editor
    const pos = panel?.pos ?? null
    setPanel(null)
    if (!editor) return
    // Behind what is selected: a picture or panel that is stays.
    const node = { type: "panel", attrs: { panel: made } }
    if (pos === null) editor.chain().insertContentAt(editor.state.selection.to, node).focus().run()
    else editor.view.dispatch(editor.state.tr.setNodeMarkup(pos, undefined, { panel: made }))
  }
  const isPublished = report.revision > 0 && !report.is_changed && saving.kind === "saved"
  return (
    <Page
      id={`/reports/${id}/edit`}
      title={title || "Untitled"}
      crumbs={above.crumbs}
      beside={
        <>
          {above.beside}
          <SavingNote saving={saving} onRetry={() => void saver.flush()} />
        </>
      }
      actions={
        <>
          <Menu
            label="More of this report"
            button={{ isSmall: true, kind: "quiet", icon: "more", "aria-label": "More of this report" }}
            items={[{ label: "Versions", onSelect: () => askVersions(true) }]}
          />
          <Button
            isSmall
            onClick={() =>
              void attempt(async () => {
                await saver.flush()
                go({ page: "report", reportId: id, isEdited: false })
              })
            }
          >
            {report.revision > 0 ? "Read it" : "Preview"}
          </Button>
          <Button
            kind="primary"
            isSmall
            disabled={isPublished || saving.kind === "conflict" || saving.kind === "refused"}
            onClick={() =>
              void attempt(async () => {
                await saver.flush()
                if (saver.isDirty) return // it says why
                saver.follow(await publish(id, saver.report.draft))
                go({ page: "report", reportId: id, isEdited: false })
              })
            }
          >
            {isPublished ? `Version ${report.revision} is published` : "Publish"}
          </Button>
        </>
      }
    >
      {error && <Failed what="That did not work" error={error} />}
      <PictureSource.Provider value={source}>
        <div className="w-report-edit">
          <input
            className="w-report-title-field"
            aria-label="Title"
            placeholder="Untitled"
            maxLength={250}
            dir="auto"
            value={title}
            onChange={(event) => {
              setTitle(event.target.value)
              latestTitle.current = event.target.value
              saver.changed()
            }}
          />
          <ReportEditor
            key={shown.key}
            document={shown.document}
            onReady={onReady}
            onChange={onChange}
            onPanel={onPanel}
            onPicture={onPicture}
          />
        </div>
        {panel && (
          <PanelDialog
            panel={panel.panel}
            experimentIds={report.experiment_ids}
            onPanel={put}
            onClose={() => setPanel(null)}
          />
        )}
        {asksVersions && (
          <VersionsDialog
            reportId={id}
            revisions={found.revisions}
            onRestore={(revision) =>
              void attempt(async () => {
                askVersions(false)
                await saver.flush()
                await restore(id, revision, saver.report.draft)
                const now = await readReport(id, { draft: true })
                replace(now, now.report)
              })
            }
            onClose={() => askVersions(false)}
          />
        )}
        {saving.kind === "conflict" && (
          <ConflictDialog
            mine={content()}
            theirs={saving.theirs}
            onMine={() => void saver.over(saving.theirs.report)}
            onTheirs={() => replace(saving.theirs, saving.theirs.report)}
            onBoth={() =>
              void attempt(async () => {
                const mine = content()
                await createReport(report.experiment_ids, `${(mine.title || "Untitled").slice(0, 240)} (mine)`, withoutPictures(mine.document))
                replace(saving.theirs, saving.theirs.report)
              })
            }
          />
        )}
      </PictureSource.Provider>
    </Page>
  )
}

/** Pictures belong to the report they were put into. */
function withoutPictures(document: Node): Node {
  const content = (document.content ?? [])
    .filter((node) => node.type !== "image")
    .map((node) => (node.content ? withoutPictures(node) : node))
  return { ...document, ...(content.length > 0 && { content }) }
}

function begin(found: ReadReport): { content: Content; draft: number; isKept: boolean } {
  const { draft } = found.report
  const kept = readKept(found.report.id)
  if (kept === null) return { content: found, draft, isKept: false }
  const isSame =
    kept.title === found.title && JSON.stringify(kept.document) === JSON.stringify(found.document)
  if (isSame) {
    forgetKept(found.report.id)
    return { content: found, draft, isKept: false }
  }
  return { content: kept, draft: kept.draft, isKept: true }
}

function SavingNote({ saving, onRetry }: { saving: Saving; onRetry: () => void }) {
  switch (saving.kind) {
    case "saved":
      return (
        <span className="w-secondary" role="status" title={dateTime(saving.atMs)}>
          Saved {dateTime(saving.atMs).slice(11, 16)}
        </span>
      )
    case "changed":
    case "saving":
      return (
        <span className="w-secondary" role="status">
          Saving…
        </span>
      )
    case "kept":
      return (
        <span className="w-text-warn" role="status">
          Not saved ({visible(saving.why, 80)}); kept in this browser{" "}
          <Button isSmall onClick={onRetry}>
            Retry
          </Button>
        </span>
      )
    case "refused":
      return (
        <span className="w-text-bad" role="alert">
          Not saved: {visible(saving.why, 200)}
        </span>
      )
    default:
      return (
        <span className="w-text-bad" role="status">
          Changed elsewhere
        </span>
      )
  }
}
