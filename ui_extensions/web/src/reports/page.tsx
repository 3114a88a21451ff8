import "./reports.css"

import { useMemo, useRef, useState } from "react"

import { useAsked } from "../api/use-answer"
import { Button } from "../controls/button"
import { CopyButton } from "../controls/copy"
import { Menu } from "../controls/menu"
import { Empty, Failed, StateOf } from "../controls/state"
import { Page } from "../layout/page"
import { go, shareableLink } from "../router"
import { ShareButton } from "../share/button"
import { reportScope } from "../share/scopes"
import { ago, dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { ReadReport } from "./api"
import { clone, readReport, restore } from "./api"
import { Comments, useComments } from "./comments"
import type { Node, Panel } from "./document"
import { useReportExperiments } from "./experiments"
import type { Exported } from "./export"
import { ReportFrame } from "./frame"
import { DeleteReport } from "./list-page"
import { ShowsAll } from "./panel"
import { PictureSource } from "./pictures"
import { countsOf, panelNames, RemarksContext } from "./remarks"
import { VersionsDialog } from "./versions"

const NOTHING: Node = { type: "doc" }

/** A report as it was published last; for editors the draft, where nothing was. */
export function ReportPage({ reportId }: { reportId: string }) {
  const answer = useAsked(`report ${reportId}`, (options) => readReport(reportId, {}, options))
  const source = useMemo(() => ({ id: reportId }), [reportId])
  const { data } = answer
  const above = useReportExperiments(data?.report.experiment_ids)
  const said = useComments(data ? reportId : null)
  const names = useMemo(() => panelNames(data?.document ?? NOTHING), [data])
  const [wanted, want] = useState<{ readonly panel: Panel } | null>(null)
  const remarks = useMemo(
    () => ({ counts: countsOf(said.all, names), about: (panel: Panel) => want({ panel }) }),
    [said.all, names],
  )
  const [isAll, showAll] = useState(false)
  const [isWorking, setWorking] = useState(false)
  const [asked, ask] = useState<"versions" | "delete" | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const box = useRef<HTMLDivElement>(null)
  const attempt = async (does: () => Promise<unknown>): Promise<void> => {
    setError(null)
    setWorking(true)
    try {
      await does()
    } catch (failure) {
      setError(failure instanceof Error ? failure : new Error(String(failure)))
    } finally {
      setWorking(false)
    }
  }
  const exported = (name: "exportHtml" | "exportMarkdown" | "printReport", found: ReadReport) => () =>
    void attempt(async () => {
      showAll(true)
      const ways = await import("./export")
      const article = box.current?.querySelector(".w-report")
      if (!article) return
      const what: Exported = { title: found.title, about: paperText(found), document: found.document, article }
      await ways[name](what)
    })
  const edit = (): void => go({ page: "report", reportId, isEdited: true })
  const title = data?.title ?? "Report"
  return (
    <Page
      id={`/reports/${reportId}`}
      title={title}
      beside={above.beside}
      crumbs={above.crumbs}
      actions={
        data && (
          <>
            <CopyButton
              label="Copy the link to this report"
              text={shareableLink({ page: "report", reportId, isEdited: false })}
            />
            <Menu
              label="More"
              button={{ isSmall: true, icon: "download", disabled: isWorking, children: isWorking ? "Working…" : "Export" }}
              items={[
                { label: "Print or save as PDF", onSelect: exported("printReport", data) },
                { label: "HTML file", onSelect: exported("exportHtml", data) },
                { label: "Markdown", onSelect: exported("exportMarkdown", data) },
              ]}
            />
            <Menu
              label="More of this report"
              button={{ isSmall: true, kind: "quiet", icon: "more", "aria-label": "More of this report" }}
              items={[
                { label: "Versions", onSelect: () => ask("versions") },
                ...(data.report.may_edit
                  ? [
                      {
                        label: "Make a copy",
                        icon: "copy" as const,
                        onSelect: () =>
                          void attempt(async () => {
                            const made = await clone(reportId, `${title.slice(0, 240)} (copy)`)
                            go({ page: "report", reportId: made.id, isEdited: true })
                          }),
                      },
                    ]
                  : []),
                ...(data.report.may_delete
                  ? [{ label: "Delete…", icon: "trash" as const, onSelect: () => ask("delete") }]
                  : []),
              ]}
            />
            {data.revision > 0 && (
              <ShareButton
                mayShare={data.report.may_edit}
                scopes={() => [reportScope(reportId, data.title, data.report.experiment_ids)]}
              />
            )}
            {data.report.may_edit && (
              <Button kind="primary" icon="edit" isSmall onClick={edit}>
                Edit
              </Button>
            )}
          </>
        )
      }
    >
      {error && <Failed what="That did not work" error={error} />}
      <StateOf answer={answer} what="The report could not be read">
        {(found) => (
          <PictureSource.Provider value={source}>
            <ShowsAll.Provider value={isAll}>
              <RemarksContext.Provider value={remarks}>
                <div ref={box}>
                  {found.report.may_edit && (found.revision === 0 || found.report.is_changed) && (
                    <p className="w-note-warn w-report-note">
                      {found.revision === 0
                        ? "This is a draft: others see it when it is published."
                        : "The draft has changes that are not published."}{" "}
                      <Button isSmall onClick={edit}>
                        To the draft
                      </Button>
                    </p>
                  )}
                  <ReportFrame
                    title={found.title}
                    about={
                      <>
                        <span className="w-off-paper" title={dateTime(found.at_ms)}>
                          {aboutText(found)}
                        </span>
                        <span className="w-for-paper">{paperText(found)}</span>
                      </>
                    }
                    document={found.document}
                    blank={<Empty>There is nothing in it yet.</Empty>}
                    aside={<Comments reportId={reportId} names={names} said={said} wanted={wanted} />}
                  />
                </div>
              </RemarksContext.Provider>
            </ShowsAll.Provider>
            {asked === "versions" && (
              <VersionsDialog
                reportId={reportId}
                revisions={found.revisions}
                onRestore={
                  found.report.may_edit
                    ? (revision) =>
                        void attempt(async () => {
                          await restore(reportId, revision, found.report.draft)
                          edit()
                        })
                    : null
                }
                onClose={() => ask(null)}
              />
            )}
            {asked === "delete" && (
              <DeleteReport report={found.report} onClose={() => ask(null)} onDeleted={() => go({ page: "reports" })} />
            )}
          </PictureSource.Provider>
        )}
      </StateOf>
    </Page>
  )
}

/** On paper nothing is a while ago. */
function paperText(found: ReadReport): string {
  const who = found.author ? `${visible(found.author, NAME_LENGTH)} · ` : ""
  const what = found.revision === 0 ? "draft" : `version ${found.revision}`
  return `${who}${dateTime(found.at_ms)} · ${what} · as of ${dateTime(Date.now())}`
}

function aboutText(found: ReadReport): string {
  const who = found.author ? `${visible(found.author, NAME_LENGTH)} · ` : ""
  const what = found.revision === 0 ? "draft" : `version ${found.revision}`
  return `${who}${ago(found.at_ms)} · ${what}`
}
