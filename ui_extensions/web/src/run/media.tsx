import { useAnswer } from "../api/use-answer"
import { Empty, Loading, StateOf } from "../controls/state"
import type { RunFacts } from "./facts"
import type { MediaAnswer } from "./media-wall"
import { MediaWall } from "./media-wall"
import type { TabProps } from "./tab-props"
import { RunPicker, useOtherRun } from "./run-picker"

/** Pictures, sounds and films by key, with one slider over their steps; beside another run's. */
export function Media({ run }: TabProps) {
  const [otherId, setOther] = useOtherRun(run)
  const answer = useAnswer<MediaAnswer>("media", { run_id: run.id })
  const theirs = useAnswer<MediaAnswer>(otherId ? "media" : null, { run_id: otherId })
  const facts = useAnswer<RunFacts>(otherId ? "run" : null, { run_id: otherId })
  return (
    <StateOf
      answer={answer}
      what="The run's pictures could not be listed"
      loading={<Loading rows={8} />}
      isEmpty={(data) => data.series.length === 0}
      empty={
        <Empty>
          No pictures, sounds or films. <code>mlflow.log_image(image, key="samples", step=step)</code>{" "}
          puts them here.
        </Empty>
      }
    >
      {(data) => (
        <MediaWall
          run={run}
          answer={data}
          other={
            otherId && facts.data && theirs.data ? { run: facts.data, answer: theirs.data } : null
          }
          otherError={theirs.error ?? facts.error}
          beside={
            <RunPicker
              run={run}
              tab="media"
              otherId={otherId}
              otherName={facts.data?.name ?? null}
              onChoose={setOther}
            />
          }
        />
      )}
    </StateOf>
  )
}
