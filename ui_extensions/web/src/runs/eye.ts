/** Which runs are drawn: the rule of a view, applied and changed. */

import type { EyeRule } from "../view/document"

/** As many runs as are ever drawn at once. */
export const MAX_DRAWN = 1_000

/** Says of a run whether it is drawn. */
export type ShownTest = (id: string, status: string) => boolean

/**
 * Make the rule a fast test.
 *
 * @param firstIds The list's first runs, in order; what "the first n" means.
 */
export function shownTest(rule: EyeRule, firstIds: readonly string[]): ShownTest {
  const shown = new Set(rule.shown)
  const hidden = new Set(rule.hidden)
  const byBase = baseTest(rule, firstIds)
  return (id, status) => !hidden.has(id) && (shown.has(id) || byBase(id, status))
}

function baseTest(rule: EyeRule, firstIds: readonly string[]): ShownTest {
  switch (rule.base) {
    case "all":
      return () => true
    case "none":
      return () => false
    case "running":
      return (_, status) => status === "RUNNING"
    case "top": {
      const top = new Set(firstIds.slice(0, rule.n))
      return (id) => top.has(id)
    }
  }
}

/** Show or hide some runs; where the rule says so by itself, no exception is kept. */
export function setShown(
  rule: EyeRule,
  runs: readonly { readonly id: string; readonly status: string }[],
  shows: boolean,
  firstIds: readonly string[],
): EyeRule {
  const byBase = baseTest(rule, firstIds)
  const shown = new Set(rule.shown)
  const hidden = new Set(rule.hidden)
  for (const { id, status } of runs) {
    shown.delete(id)
    hidden.delete(id)
    if (byBase(id, status) !== shows) (shows ? shown : hidden).add(id)
  }
  return { ...rule, shown: [...shown], hidden: [...hidden] }
}

/** Draw these runs and no others. */
export function solo(ids: readonly string[]): EyeRule {
  return { base: "none", n: 0, shown: ids, hidden: [] }
}

/** Say whether the rule draws one run alone. */
export function isSolo(rule: EyeRule, id: string): boolean {
  return rule.base === "none" && rule.shown.length === 1 && rule.shown[0] === id
}

/** Draw what is not drawn now, of the list's first runs. */
export function inverted(
  rule: EyeRule,
  runs: readonly { readonly id: string; readonly status: string }[],
  firstIds: readonly string[],
): EyeRule {
  const test = shownTest(rule, firstIds)
  const others = runs.filter((run) => !test(run.id, run.status)).map((run) => run.id)
  return solo(others)
}
