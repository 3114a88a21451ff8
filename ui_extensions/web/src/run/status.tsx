import { visible } from "../text/visible"
import type { RunFacts } from "./facts"
import { tag } from "./facts"

const KINDS: Record<string, string> = {
  FINISHED: "w-badge-ok",
  FAILED: "w-badge-bad",
  KILLED: "w-badge-bad",
  RUNNING: "w-badge-live",
  SCHEDULED: "",
}
const GLYPHS: Record<string, string> = {
  FINISHED: "✓",
  FAILED: "✕",
  KILLED: "■",
  RUNNING: "●",
  SCHEDULED: "○",
}

/** The run's state in a word, and why it ended in a sentence. */
export function Status({ run, hasCause = true }: { run: RunFacts; hasCause?: boolean }) {
  const cause = tag(run, "weir.exit_cause")
  return (
    <>
      <span className={`w-badge ${KINDS[run.status] ?? ""}`}>
        <span aria-hidden="true">{GLYPHS[run.status] ?? "?"}</span> {visible(run.status, 20)}
      </span>
      {hasCause && cause && <span className="w-run-cause">{visible(cause, 400)}</span>}
    </>
  )
}
