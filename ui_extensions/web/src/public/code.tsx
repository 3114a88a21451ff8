import { useAnswer } from "../api/use-answer"
import { Empty, Loading, StateOf } from "../controls/state"
import type { CodeAnswer } from "../run/code-parts"
import { EnvironmentFacts, GitFacts, Patch, Requirements } from "../run/code-parts"
import type { VisitorTabProps } from "./tab-props"

// What is not shared is not in the answer.
const NOTHING: CodeAnswer = {
  state: null,
  patch: null,
  upstream: null,
  untracked: [],
  environment: null,
  requirements: [],
  tags: {},
}

/** What ran, as far as it is shared. */
export function Code({ run, shown }: VisitorTabProps) {
  const answer = useAnswer<Partial<CodeAnswer>>("code", { run_id: run.id })
  return (
    <StateOf answer={answer} what="The code could not be read" loading={<Loading rows={12} />}>
      {(found) => {
        const code = { ...NOTHING, ...found }
        const isBare = !code.state && !code.patch && !code.environment
        if (isBare && code.requirements.length === 0) {
          return <Empty>Nothing is known of this run's code.</Empty>
        }
        return (
          <div className="w-code">
            {shown.code && <GitFacts run={run} code={code} />}
            {shown.patch && (code.patch || code.state) && <Patch code={code} />}
            <EnvironmentFacts environment={code.environment} />
            <Requirements lines={code.requirements} />
          </div>
        )
      }}
    </StateOf>
  )
}
