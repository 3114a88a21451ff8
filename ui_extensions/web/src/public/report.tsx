import "../runs/runs.css"

import { useMemo } from "react"

import { Empty } from "../controls/state"
import { Contents, ReportBody } from "../reports/body"
import type { Node } from "../reports/document"
import { headingsOf, isBlank } from "../reports/document"
import { PictureSource } from "../reports/pictures"
import type { Share } from "./share"
import { AsOf, Shell } from "./shell"

// A link leads to one report: its pictures are asked for by their ids alone.
const OWN = {}
const MANY = 3

/** A report that is shared: its words, and of its panels what the link shows. */
export function VisitorReport({ share, document }: { share: Share; document: Node }) {
  const headings = useMemo(() => headingsOf(document), [document])
  return (
    <Shell title={share.title} about={<AsOf share={share} />}>
      <PictureSource.Provider value={OWN}>
        <div className="w-report-frame">
          <article className="w-report" aria-label="Report">
            <h2 className="w-hidden-text">Report</h2>
            {isBlank(document) ? <Empty>There is nothing in it.</Empty> : <ReportBody document={document} />}
          </article>
          <div className="w-report-side">
            {headings.length >= MANY && <Contents headings={headings} label="Headings" />}
          </div>
        </div>
      </PictureSource.Provider>
    </Shell>
  )
}
