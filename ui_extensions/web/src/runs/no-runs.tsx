import { STOCK } from "../addresses"
import { CopyButton } from "../controls/copy"
import { Empty } from "../controls/state"
import { useWorkspace } from "./workspace-context"

/** How to get the first run into an experiment. */
export function NoRuns() {
  const { experimentIds } = useWorkspace()
  const [first = "0"] = experimentIds
  const snippet = `import mlflow

mlflow.set_tracking_uri("${STOCK.href.replace(/\/$/, "")}")
mlflow.set_experiment(experiment_id="${first}")
with mlflow.start_run():
    for step in range(100):
        mlflow.log_metric("loss", 1 / (1 + step), step=step)
`
  return (
    <Empty>
      <p>No runs yet. The first one appears here by itself:</p>
      <pre className="w-snippet" tabIndex={0} role="group" aria-label="Lines that log a first run">
        {snippet}
      </pre>
      <CopyButton text={snippet} label="Copy" isWorded />
    </Empty>
  )
}
