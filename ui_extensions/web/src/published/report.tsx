import { Empty } from "../controls/state"

/** Pages without a server show runs: a report is a file of its own, which its page exports. */
export function VisitorReport(_: object) {
  return <Empty>Reports are not published in this form.</Empty>
}
