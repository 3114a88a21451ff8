/** What `POST changes` tells of the experiments of a run list, held against what the list knows. */

import { askSharedChanges } from "../api/shared-changes"

/** How the active runs of the experiments stand; any run's begin or end changes it. */
export interface Standing {
  readonly n_runs: number
  readonly n_running: number
  readonly last_start_ms: number
  readonly last_end_ms: number
}

interface ChangesAnswer extends Standing {
  readonly watermark: string
  /** Runs that may have new points, with a version that differs from the one before. */
  readonly runs: Readonly<Record<string, string>>
}

/** What is known of the points from poll to poll. */
export interface Known {
  readonly watermark: string | null
  readonly versions: ReadonlyMap<string, string>
}

export interface Changes {
  /** What is known from now on. */
  readonly known: Known
  readonly told: readonly string[]
  /**
   * To be held against that of the list's own answer: who compares polls alone misses what happens
   * between the list's answer and the first poll.
   */
  readonly standing: string
  /** Something is running, shown or not. */
  readonly isRunning: boolean
}

export const NOTHING_KNOWN: Known = { watermark: null, versions: new Map() }

/** A standing as text, to be compared. */
export function standingText(of: Standing): string {
  return JSON.stringify([of.n_runs, of.n_running, of.last_start_ms, of.last_end_ms])
}

/** Ask what changed; null where the server does not answer. */
export async function askChanges(
  experiments: readonly string[],
  before: Known,
  signal: AbortSignal,
): Promise<Changes | null> {
  const question = { experiments, runs: [], since: before.watermark }
  try {
    const answer = await askSharedChanges<ChangesAnswer>(question, { signal })
    return changesOf(answer, before)
  } catch {
    return null
  }
}

/** What an answer tells to one who knew this before. */
export function changesOf(answer: ChangesAnswer, before: Known): Changes {
  const versions = new Map([...before.versions, ...Object.entries(answer.runs)])
  return {
    known: { watermark: answer.watermark, versions },
    told: Object.keys(answer.runs),
    standing: standingText(answer),
    isRunning: answer.n_running > 0,
  }
}

/**
 * Runs that have new points. The first answer has whatever grew lately, of which nobody knows
 * whether it was before the list was read: all of it is news.
 */
export function runsWithNews(before: Known, changes: Changes): string[] {
  return changes.told.filter((id) => before.versions.get(id) !== changes.known.versions.get(id))
}
