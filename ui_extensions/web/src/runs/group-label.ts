import { number } from "../text/format"
import { visible } from "../text/visible"
import type { RunGroup } from "./api"

/** What a group is called: its values. */
export function groupLabel(group: RunGroup): string {
  return group.values
    .map((value) => {
      if (value === null) return "—"
      if (Array.isArray(value)) return `${number(value[0], 3)} – ${number(value[1], 3)}`
      return typeof value === "number" ? number(value, 4) : visible(String(value), 80) || "“”"
    })
    .join(" · ")
}
