import type { RunFacts } from "./facts"

/** What a tab is given: the run's facts, and a way to ask for them again. */
export interface TabProps {
  run: RunFacts
  onChanged: () => void
}
