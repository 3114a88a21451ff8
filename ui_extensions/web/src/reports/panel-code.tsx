/** The code of a run, or what differs between that of two. */

import { useAnswer } from "../api/use-answer"
import type { DrawnRun } from "../charts/types"
import { Loading, StateOf } from "../controls/state"
import { CompareCode } from "../run/code-compare"
import type { CodeAnswer } from "../run/code-parts"
import { GitFacts, Patch } from "../run/code-parts"
import type { RunFacts } from "../run/facts"
import { NAME_LENGTH, visible } from "../text/visible"

// What is not shared is not in the answer.
const NO_CODE: CodeAnswer = {
  state: null,
  patch: null,
  upstream: null,
  untracked: [],
  environment: null,
  requirements: [],
  tags: {},
}
const NO_FACTS = {
  name: "",
  experiment_name: "",
  stage: "active",
  user: "",
  tags: {},
  params: [],
  metrics: [],
  n_metrics: 0,
  n_params: 0,
  may_edit: false,
}

export function PanelCode({ runs }: { runs: readonly DrawnRun[] }) {
  const [first, second] = runs
  const run = useAnswer<Partial<RunFacts>>(first ? "run" : null, { run_id: first?.id })
  const code = useAnswer<Partial<CodeAnswer>>(first ? "code" : null, { run_id: first?.id })
  if (first === undefined) return null
  return (
    <StateOf answer={run} what="The run could not be read" loading={<Loading rows={4} />}>
      {(facts) => (
        <StateOf answer={code} what="The code could not be read" loading={<Loading rows={4} />}>
          {(answer) => {
            const shown = { ...NO_FACTS, id: first.id, ...facts } as RunFacts
            const found = { ...NO_CODE, ...answer }
            return second ? (
              <CompareCode run={shown} code={found} otherId={second.id} />
            ) : (
              <div className="w-code">
                <p className="w-secondary">{visible(first.name, NAME_LENGTH)}</p>
                <GitFacts run={shown} code={found} />
                {(found.patch || found.state) && <Patch code={found} />}
              </div>
            )
          }}
        </StateOf>
      )}
    </StateOf>
  )
}
