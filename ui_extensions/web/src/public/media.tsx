import { useAnswer } from "../api/use-answer"
import { Empty, Loading, StateOf } from "../controls/state"
import type { MediaAnswer } from "../run/media-wall"
import { MediaWall } from "../run/media-wall"
import type { VisitorTabProps } from "./tab-props"

/** A run's pictures, sounds and films. */
export function Media({ run }: VisitorTabProps) {
  const answer = useAnswer<MediaAnswer>("media", { run_id: run.id })
  return (
    <StateOf
      answer={answer}
      what="The run's pictures could not be listed"
      loading={<Loading rows={8} />}
      isEmpty={(data) => data.series.length === 0}
      empty={<Empty>No pictures, sounds or films.</Empty>}
    >
      {(data) => <MediaWall run={run} answer={data} />}
    </StateOf>
  )
}
