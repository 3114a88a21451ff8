/**
 * What the dock says of the run that is shown: asked for once a visit, when MLflow's page has had its
 * time to load; without an answer the dock has names alone.
 */

import { API } from "../addresses"

export interface DockFacts {
  readonly n_lines: number
  readonly is_changed: boolean
  readonly n_untracked: number
}

// MLflow's page comes first.
const WAIT_MS = 600

let asked: { run: string; facts: DockFacts | null } | null = null

/** The facts of a run, where they are known; asks for them where they are not. */
export function dockFacts(
  runId: string,
  workspace: string | null,
  onKnown: () => void,
): DockFacts | null {
  if (asked?.run === runId) return asked.facts
  const mine = { run: runId, facts: null as DockFacts | null }
  asked = mine
  window.setTimeout(() => {
    // It has moved on: who comes back asks again.
    if (asked !== mine) return
    ask(runId, workspace).then(
      (facts) => {
        mine.facts = facts
        if (asked === mine) onKnown()
      },
      () => undefined,
    )
  }, WAIT_MS)
  return null
}

async function ask(runId: string, workspace: string | null): Promise<DockFacts> {
  const headers = new Headers({ "Content-Type": "application/json" })
  if (workspace !== null) headers.set("X-MLFLOW-WORKSPACE", workspace)
  const answer = await fetch(new URL("run/dock", API), {
    method: "POST",
    headers,
    body: JSON.stringify({ run_id: runId }),
    credentials: "same-origin",
  })
  if (!answer.ok) throw new Error(String(answer.status))
  const facts = (await answer.json()) as Partial<DockFacts>
  return {
    n_lines: Number(facts.n_lines ?? 0),
    is_changed: facts.is_changed === true,
    n_untracked: Number(facts.n_untracked ?? 0),
  }
}
