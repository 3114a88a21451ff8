/** What was published of a report, and the way back to it. */

import { useState } from "react"

import { Button } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { Empty, StateOf } from "../controls/state"
import { useAsked } from "../api/use-answer"
import { ago, dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Revision } from "./api"
import { readReport } from "./api"
import { ReportBody } from "./body"

export function VersionsDialog({
  reportId,
  revisions,
  onRestore,
  onClose,
}: {
  reportId: string
  revisions: readonly Revision[]
  /** Make it the draft; null where the reader may not. */
  onRestore: ((revision: number) => void) | null
  onClose: () => void
}) {
  const [chosen, choose] = useState(revisions[0]?.revision ?? 0)
  const answer = useAsked(chosen > 0 ? `${reportId} ${chosen}` : null, (options) =>
    readReport(reportId, { revision: chosen }, options),
  )
  return (
    <Dialog
      title="Versions"
      isWide
      className="w-versions"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Close</Button>
          {onRestore && chosen > 0 && (
            <Button kind="primary" onClick={() => onRestore(chosen)}>
              Make version {chosen} the draft
            </Button>
          )}
        </>
      }
    >
      {revisions.length === 0 ? (
        <Empty>Nothing was published yet. Publish makes a version that stays.</Empty>
      ) : (
        <div className="w-versions-both">
          <ul aria-label="Versions">
            {revisions.map((one) => (
              <li key={one.revision}>
                <button type="button" className="w-menu-item" aria-pressed={one.revision === chosen} onClick={() => choose(one.revision)}>
                  <strong>Version {one.revision}</strong>
                  <span className="w-secondary" title={dateTime(one.at_ms)}>
                    {ago(one.at_ms)}
                    {one.author && ` · ${visible(one.author, 60)}`}
                  </span>
                </button>
              </li>
            ))}
          </ul>
          <div className="w-versions-shown" tabIndex={0} role="region" aria-label={`Version ${chosen}`}>
            <StateOf answer={answer} what="The version could not be read">
              {(found) => (
                <>
                  <h3 className="w-report-title">{visible(found.title, NAME_LENGTH)}</h3>
                  <ReportBody document={found.document} />
                </>
              )}
            </StateOf>
          </div>
        </div>
      )}
    </Dialog>
  )
}
