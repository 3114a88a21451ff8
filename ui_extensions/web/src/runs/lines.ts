/** The lines of the run list: runs, pinned ones first, or groups with the runs of those that are open. */

import type { RunGroup } from "./api"
import { RunIds } from "./api"

/** One line of the list. */
export type Item =
  | { readonly kind: "run"; readonly id: string; readonly isPinned: boolean; readonly isIndented: boolean }
  | { readonly kind: "group"; readonly group: RunGroup; readonly at: number }

/** Lines of the list, made when they are looked at. */
export interface Lines {
  readonly count: number
  readonly at: (index: number) => Item | null
}

export function plainLines(ids: RunIds, pins: readonly string[]): Lines {
  const pinned = pins.map((id): Item => ({ kind: "run", id, isPinned: true, isIndented: false }))
  if (pins.length === 0) {
    return {
      count: ids.count,
      at: (index) => ({ kind: "run", id: ids.at(index), isPinned: false, isIndented: false }),
    }
  }
  const set = new Set(pins)
  const rest = new Int32Array(ids.count)
  let n = 0
  for (let at = 0; at < ids.count; at += 1) if (!set.has(ids.at(at))) rest[n++] = at
  return {
    count: pins.length + n,
    at: (index) =>
      pinned[index] ?? {
        kind: "run",
        id: ids.at(rest[index - pins.length] ?? 0),
        isPinned: false,
        isIndented: false,
      },
  }
}

export function groupedLines(groups: readonly RunGroup[], open: ReadonlySet<string>): Lines {
  const starts: { start: number; group: RunGroup; at: number; ids: RunIds | null }[] = []
  let n = 0
  groups.forEach((group, at) => {
    const ids = open.has(JSON.stringify(group.values)) ? RunIds.decode(group.ids) : null
    starts.push({ start: n, group, at, ids })
    n += 1 + (ids?.count ?? 0)
  })
  return {
    count: n,
    at: (index) => {
      let low = 0
      let high = starts.length - 1
      while (low < high) {
        const middle = Math.ceil((low + high) / 2)
        if ((starts[middle]?.start ?? 0) <= index) low = middle
        else high = middle - 1
      }
      const found = starts[low]
      if (!found) return null
      if (found.start === index) return { kind: "group", group: found.group, at: found.at }
      const id = found.ids?.at(index - found.start - 1) ?? ""
      return { kind: "run", id, isPinned: false, isIndented: true }
    },
  }
}
