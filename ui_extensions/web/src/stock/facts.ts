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
const FRESH_MS = 10_000

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

let seen: { experiment: string; level: string; atMs: number } | null = null

const LEVELS: Readonly<Record<string, string>> = {
  private: "Private",
  team: "Team",
  public: "Public",
}

/** Who may see an experiment, in a word; "" while it is not known. Asked again with each visit. */
export function experimentLevel(
  experimentId: string,
  workspace: string | null,
  onKnown: () => void,
): string {
  if (seen?.experiment === experimentId && Date.now() - seen.atMs < FRESH_MS) return seen.level
  const mine = { experiment: experimentId, level: seen?.experiment === experimentId ? seen.level : "", atMs: Date.now() }
  seen = mine
  window.setTimeout(() => {
    if (seen !== mine) return
    post<{ has_login: boolean; experiments: { level: string }[] }>("visibility", workspace, {
      experiment_ids: [experimentId],
    }).then(
      ({ has_login, experiments }) => {
        mine.level = has_login ? (LEVELS[experiments[0]?.level ?? ""] ?? "") : "No login"
        if (seen === mine) onKnown()
      },
      () => undefined,
    )
  }, WAIT_MS)
  return mine.level
}

async function ask(runId: string, workspace: string | null): Promise<DockFacts> {
  const facts = await post<Partial<DockFacts>>("run/dock", workspace, { run_id: runId })
  return {
    n_lines: Number(facts.n_lines ?? 0),
    is_changed: facts.is_changed === true,
    n_untracked: Number(facts.n_untracked ?? 0),
  }
}

async function post<T>(path: string, workspace: string | null, body: object): Promise<T> {
  const headers = new Headers({ "Content-Type": "application/json" })
  if (workspace !== null) headers.set("X-MLFLOW-WORKSPACE", workspace)
  const answer = await fetch(new URL(path, API), {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    credentials: "same-origin",
  })
  if (!answer.ok) throw new Error(String(answer.status))
  return (await answer.json()) as T
}
