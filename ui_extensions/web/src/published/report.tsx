import { Empty } from "../controls/state"

/** In place of `public/report.tsx`, on pages of runs: a report has a page of its own. */
export function VisitorReport(_: object) {
  return <Empty>There is no report here.</Empty>
}
