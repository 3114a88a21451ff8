import type { ViewDocument } from "../view/document"
import type { Tree } from "./api"
import type { RunList } from "./data"
import { effectiveFilter } from "./data"
import { isGroup } from "./filter-tree"

/**
 * The tree of the filter that somebody wrote: the server's has what the page's switches add in it
 * too, as its last parts (`effectiveFilter`).
 */
export function writtenTree(
  doc: Pick<ViewDocument, "filter" | "hidesCrashed">,
  isFrozen: boolean,
  tree: Tree | null,
): Tree | null {
  if (doc.filter.trim() === "") return null
  const n = Number(doc.hidesCrashed) + Number(isFrozen)
  if (n === 0 || tree === null || !isGroup(tree) || tree.joined !== "and") return tree
  const parts = tree.parts.slice(0, -n)
  return parts.length > 1 ? { ...tree, parts } : (parts[0] ?? null)
}

/** The same of a list, and whether it is of the filter as it is written now or of the one before. */
export function treeOf(
  doc: Pick<ViewDocument, "filter" | "hidesCrashed">,
  list: Pick<RunList, "tree" | "filter" | "live">,
): { tree: Tree | null; isCurrent: boolean } {
  const { isOn, atMs } = list.live
  const isCurrent = list.filter === effectiveFilter(doc, isOn ? null : atMs)
  return { tree: writtenTree(doc, !isOn, list.tree), isCurrent }
}
