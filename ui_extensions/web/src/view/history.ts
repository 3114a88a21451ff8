/** Undo and redo over a document: patches with their inverses, at most 100 of them. */

import type { Patch, ViewDocument } from "./document"

export interface Step {
  readonly undo: Patch
  readonly redo: Patch
  /** Steps with the same word that follow one another quickly are one, such as a slider's. */
  readonly word: string | null
  readonly atMs: number
}

export interface History {
  readonly document: ViewDocument
  readonly past: readonly Step[]
  readonly future: readonly Step[]
}

export const MAX_STEPS = 100
const ONE_STEP_MS = 1_000

export function startHistory(document: ViewDocument): History {
  return { document, past: [], future: [] }
}

function inverse(document: ViewDocument, patch: Patch): Patch {
  const found: Record<string, unknown> = {}
  for (const key of Object.keys(patch) as (keyof Patch)[]) found[key] = document[key]
  return found as Patch
}

function changes(document: ViewDocument, patch: Patch): Patch {
  const found: Record<string, unknown> = {}
  for (const key of Object.keys(patch) as (keyof Patch)[]) {
    if (JSON.stringify(document[key]) !== JSON.stringify(patch[key])) found[key] = patch[key]
  }
  return found as Patch
}

/** Apply a patch; what it does not change is left out of it. */
export function apply(history: History, patch: Patch, word: string | null, atMs: number): History {
  const { document, past } = history
  const redo = changes(document, patch)
  if (Object.keys(redo).length === 0) return history
  const last = past.at(-1)
  const next = { ...document, ...redo }
  if (last && word !== null && last.word === word && atMs - last.atMs < ONE_STEP_MS) {
    const undo = { ...inverse(document, redo), ...last.undo }
    const joined = { undo, redo: { ...last.redo, ...redo }, word, atMs }
    return { document: next, past: [...past.slice(0, -1), joined], future: [] }
  }
  const step = { undo: inverse(document, redo), redo, word, atMs }
  return { document: next, past: [...past, step].slice(-MAX_STEPS), future: [] }
}

export function undo(history: History): History {
  const step = history.past.at(-1)
  if (!step) return history
  return {
    document: { ...history.document, ...step.undo },
    past: history.past.slice(0, -1),
    future: [...history.future, { ...step, word: null }],
  }
}

export function redo(history: History): History {
  const step = history.future.at(-1)
  if (!step) return history
  return {
    document: { ...history.document, ...step.redo },
    past: [...history.past, step],
    future: history.future.slice(0, -1),
  }
}
