/** Two people have changed one draft: both are shown, what differs is marked, and one of them decides. */

import { useMemo } from "react"

import { Button } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { ago } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Conflict } from "./api"
import { ReportBody } from "./body"
import type { Node } from "./document"
import type { Content } from "./saving"

export function ConflictDialog({
  mine,
  theirs,
  onMine,
  onTheirs,
  onBoth,
}: {
  mine: Content
  theirs: Conflict
  /** Save over theirs. */
  onMine: () => void
  /** Go on with theirs. */
  onTheirs: () => void
  /** Keep mine as a report of its own, and go on with theirs. */
  onBoth: () => void
}) {
  const who = theirs.report.saved_by ? visible(theirs.report.saved_by, 60) : "somebody, or you in another tab"
  return (
    <Dialog
      title="The draft has been changed elsewhere"
      isWide
      className="w-conflict"
      onClose={() => undefined}
      footer={
        <>
          <Button onClick={onTheirs}>Take theirs, drop mine</Button>
          <Button onClick={onMine}>Keep mine over theirs</Button>
          <Button kind="primary" onClick={onBoth}>
            Keep both: mine as a new report
          </Button>
        </>
      }
    >
      <p>
        Saved {ago(theirs.report.saved_ms)} by {who}. What differs is marked; nothing is lost until you choose.
      </p>
      <div className="w-conflict-both">
        <Side label="Mine" content={mine} other={theirs} />
        <Side label="Theirs" content={theirs} other={mine} />
      </div>
    </Dialog>
  )
}

function Side({ label, content, other }: { label: string; content: Content; other: Content }) {
  const blocks = useMemo(() => {
    const others = new Set((other.document.content ?? []).map((block) => JSON.stringify(block)))
    return (content.document.content ?? []).map((block) => ({ block, isOwn: !others.has(JSON.stringify(block)) }))
  }, [content, other])
  return (
    <section tabIndex={0} aria-label={label}>
      <h3>
        {label}: <span className={content.title === other.title ? undefined : "w-changed"}>{visible(content.title, NAME_LENGTH)}</span>
      </h3>
      {blocks.map(({ block, isOwn }, at) => (
        <div key={at} className={isOwn ? "w-changed" : undefined}>
          <ReportBody document={only(block)} />
        </div>
      ))}
    </section>
  )
}

function only(block: Node): Node {
  return { type: "doc", content: [block] }
}
