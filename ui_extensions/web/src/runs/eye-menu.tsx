import type { MenuItem } from "../controls/menu"
import { Menu } from "../controls/menu"
import { count } from "../text/format"
import { EVERYTHING } from "../view/document"
import { inverted, MAX_DRAWN } from "./eye"
import { useWorkspace } from "./workspace-context"

const TOPS = [10, 20, 50]

/** Which runs are drawn, as a rule; and the three counts. */
export function EyeMenu({ nShown, more }: { nShown: number; more: readonly MenuItem[] }) {
  const { view, list, firstIds } = useWorkspace()
  const { doc, update } = view
  const { eye } = doc
  const isPlain = eye.shown.length + eye.hidden.length === 0
  const set = (base: "all" | "none" | "running" | "top", n = 0): void =>
    update({ eye: { base, n, shown: [], hidden: [] } })
  const drawn = Math.min(list.ids.count, MAX_DRAWN)
  return (
    <div className="w-eye-line">
      <Menu
        label="Which runs are drawn"
        align="start"
        button={{
          icon: nShown > 0 ? "eye" : "eyeOff",
          kind: "quiet",
          isSmall: true,
          "aria-label": "Which runs are drawn",
        }}
        items={[
          {
            label: list.ids.count > MAX_DRAWN ? `The first ${count(MAX_DRAWN)}` : "All",
            isChecked: eye.base === "all" && isPlain,
            onSelect: () => update({ eye: EVERYTHING }),
          },
          { label: "None", isChecked: eye.base === "none" && isPlain, onSelect: () => set("none") },
          ...TOPS.map((n) => ({
            label: `First ${n} of the list`,
            isChecked: eye.base === "top" && eye.n === n && isPlain,
            onSelect: () => set("top", n),
          })),
          {
            label: "Only those running",
            isChecked: eye.base === "running" && isPlain,
            onSelect: () => set("running"),
          },
          {
            label: "The others instead",
            isFirstOfGroup: true,
            onSelect: () => update({ eye: inverted(eye, list.first, firstIds) }),
          },
          {
            label: doc.hidesCrashed ? "List failed and killed runs" : "Hide failed and killed runs",
            isFirstOfGroup: true,
            onSelect: () => update({ hidesCrashed: !doc.hidesCrashed }),
          },
          ...more,
        ]}
      />
      <span className="w-eye-counts">
        <span title="Runs that are drawn">{count(nShown)}</span> of{" "}
        <span title={`Runs that match${list.ids.count > drawn ? `; the first ${count(drawn)} can be drawn` : ""}`}>
          {count(list.ids.count)}
        </span>
        {list.total !== list.ids.count && (
          <>
            {" · "}
            <span title="Runs in all">{count(list.total)} in all</span>
          </>
        )}
        {doc.showsDeleted && " deleted"}
      </span>
    </div>
  )
}
