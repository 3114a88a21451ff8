import { StockLink } from "../layout/link"
import { Page } from "../layout/page"

/** The workspace of one experiment or several. */
export function Workspace({ experimentIds }: { experimentIds: string[] }) {
  const [first = "0"] = experimentIds
  return (
    <Page id={`/e/${experimentIds.join(",")}`} title="Workspace">
      <StockLink to={`/experiments/${first}/runs`}>The runs in MLflow</StockLink>
    </Page>
  )
}
