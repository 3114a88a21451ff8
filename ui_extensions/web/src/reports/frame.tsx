/** What surrounds a report: title, who and when, headings at the side, the text. */

import type { ReactNode } from "react"
import { useMemo } from "react"

import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import { Contents, ReportBody } from "./body"
import type { Node } from "./document"
import { headingsOf, isBlank, minutesOf } from "./document"

/** From so many headings on they are listed at the side. */
const MANY = 3

export function ReportFrame({
  title,
  about,
  document,
  aside,
  blank,
}: {
  title: string
  /** Who wrote it, when. */
  about: ReactNode
  document: Node
  /** Beside the text, under the headings. */
  aside?: ReactNode
  /** Instead of an empty text. */
  blank?: ReactNode
}) {
  const headings = useMemo(() => headingsOf(document), [document])
  return (
    <div className="w-report-frame">
      <article className="w-report" aria-label={visible(title, NAME_LENGTH)}>
        <header className="w-report-head">
          <h2 className="w-report-title" dir="auto">
            {visible(title, NAME_LENGTH)}
          </h2>
          <p className="w-secondary">
            {about} · {count(minutesOf(document))} min read
          </p>
        </header>
        {isBlank(document) && blank ? blank : <ReportBody document={document} />}
      </article>
      <div className="w-report-side">
        {headings.length >= MANY && <Contents headings={headings} label="Headings" />}
        {aside}
      </div>
    </div>
  )
}
