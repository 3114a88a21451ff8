import { useAnswer } from "../api/use-answer"
import { CopyButton } from "../controls/copy"
import { Empty, Loading, StateOf } from "../controls/state"
import { CompareCode } from "./code-compare"
import type { CodeAnswer } from "./code-parts"
import { EnvironmentFacts, GitFacts, Patch, Requirements } from "./code-parts"
import type { RunFacts } from "./facts"
import { tag } from "./facts"
import type { TabProps } from "./tab-props"
import { RunPicker, useOtherRun } from "./run-picker"

/** What ran: commit, patch, command, environment, packages; and how another run's differed. */
export function Code({ run }: TabProps) {
  const answer = useAnswer<CodeAnswer>("code", { run_id: run.id })
  const [otherId, setOther] = useOtherRun(run)
  const other = useAnswer<RunFacts>(otherId ? "run" : null, { run_id: otherId })
  return (
    <StateOf
      answer={answer}
      what="The code could not be read"
      loading={<Loading rows={12} />}
      isEmpty={(code) => isBare(code, run)}
      empty={
        <Empty>
          Nothing was captured of this run's code: it was not begun by a script on a machine with
          Weir, or <code>WEIR_CAPTURE=off</code> was set.
        </Empty>
      }
    >
      {(code) => (
        <div className="w-code">
          <div className="w-toolbar">
            <RunPicker
              run={run}
              tab="code"
              otherId={otherId}
              otherName={other.data?.name ?? null}
              onChoose={setOther}
            />
          </div>
          {otherId ? (
            <CompareCode run={run} code={code} otherId={otherId} />
          ) : (
            <>
              <GitFacts run={run} code={code}>
                <Restore runId={run.id} />
              </GitFacts>
              <Patch code={code} />
              <EnvironmentFacts environment={code.environment} />
              <Requirements lines={code.requirements} />
            </>
          )}
        </div>
      )}
    </StateOf>
  )
}

function isBare(code: CodeAnswer, run: RunFacts): boolean {
  const isCaptured = code.state || code.patch || code.environment || code.requirements.length > 0
  return !isCaptured && tag(run, "mlflow.source.git.commit") === null
}

function Restore({ runId }: { runId: string }) {
  const restore = `weir restore ${runId}`
  return (
    <div className="w-row w-code-restore">
      <span className="w-secondary">To have this code again:</span>
      <code>{restore}</code>
      <CopyButton text={restore} label="Copy the command" />
    </div>
  )
}
