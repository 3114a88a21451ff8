import { Empty } from "../controls/state"
import { PlaceLink } from "../layout/link"
import { Page } from "../layout/page"

export function NotFound({ children }: { children?: string }) {
  return (
    <Page id="not-found" title="Not found">
      <Empty action={<PlaceLink to={{ page: "home" }}>All experiments</PlaceLink>}>
        {children ?? "There is no such page."}
      </Empty>
    </Page>
  )
}
