import type { RunTab } from "../grammar"
import { StockLink } from "../layout/link"
import { Page } from "../layout/page"

/** One run. */
export function RunPage({ runId, tab }: { runId: string; tab: RunTab }) {
  return (
    <Page id={`/r/${runId}`} title="Run">
      <StockLink to={`/runs/${runId}`}>{tab} in MLflow</StockLink>
    </Page>
  )
}
