import type { RunFacts } from "../run/facts"
import type { Shown } from "./share"

/** What a tab of a run behind a link is given. */
export interface VisitorTabProps {
  readonly run: RunFacts
  readonly shown: Shown
  /** Asks for the run again; nothing here changes it. */
  readonly onChanged: () => void
}
