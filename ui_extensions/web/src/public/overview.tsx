import { Pairs } from "../run/found-table"
import { NOTE, ownTags, tag } from "../run/facts"
import { NotesText } from "../run/notes-text"
import { CauseBanner, Facts, LastLines, Metrics, Params } from "../run/overview-parts"
import type { VisitorTabProps } from "./tab-props"

/** What is shared of a run, on one screen; what is not has no empty place. */
export function Overview({ run, shown }: VisitorTabProps) {
  const note = tag(run, NOTE)
  const tags = ownTags(run)
  return (
    <div className="w-overview">
      {tag(run, "weir.exit_cause") && <CauseBanner run={run} />}
      <div className="w-overview-columns">
        <div className="w-overview-main">
          {shown.notes && note && (
            <section aria-labelledby="w-notes">
              <div className="w-section-head">
                <h2 id="w-notes" className="w-section-title">
                  Notes
                </h2>
              </div>
              <NotesText text={note} />
            </section>
          )}
          {run.metrics.length > 0 && <Metrics run={run} />}
          {shown.console && <LastLines run={run} />}
        </div>
        <div className="w-overview-side">
          <Facts run={run} />
          {run.params.length > 0 && <Params run={run} />}
          {tags.length > 0 && (
            <Pairs id="w-tags" title="Tags" noun="Tag" all={tags} total={tags.length} empty="" />
          )}
        </div>
      </div>
    </div>
  )
}
