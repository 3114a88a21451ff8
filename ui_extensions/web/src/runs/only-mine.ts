import { madeBy, treeText, withMadeBy } from "./filter-tree"
import { treeOf } from "./switches"
import type { WorkspaceState } from "./workspace-context"

/** What lists one's own runs alone, or everybody's again; null where nobody is known, or the filter cannot be read. */
export function onlyMine({ me, list, view }: WorkspaceState): { label: string; run: () => void } | null {
  if (me === null || list.fault !== null) return null
  const { tree, isCurrent } = treeOf(view.doc, list)
  if (!isCurrent) return null
  const isOn = madeBy(tree) === me
  return {
    label: isOn ? "List everybody’s runs" : "List only my runs",
    run: () => view.update({ filter: treeText(withMadeBy(tree, isOn ? null : me)) }),
  }
}
