import { visible } from "../text/visible"
import type { Tree } from "./api"
import { madeBy, makers, withMadeBy } from "./filter-tree"
import { useWorkspace } from "./workspace-context"

/** Whose runs are listed: everybody's, one's own, somebody's; a condition of the filter. */
export function MadeBy({
  tree,
  isDisabled,
  onChange,
}: {
  tree: Tree | null
  /** The filter cannot be read. */
  isDisabled: boolean
  onChange: (tree: Tree | null) => void
}) {
  const { known, me } = useWorkspace()
  const chosen = madeBy(tree)
  const others = makers(known?.tags ?? []).filter((user) => user !== me)
  const users = [...(me === null ? [] : [me]), ...others]
  if (chosen !== null && !users.includes(chosen)) users.push(chosen)
  if (users.length === 0) return null
  return (
    <label className="w-check">
      Runs of
      <select
        className="w-input w-input-small"
        value={chosen ?? ""}
        disabled={isDisabled}
        onChange={(event) => onChange(withMadeBy(tree, event.target.value || null))}
      >
        <option value="">everybody</option>
        {users.map((user) => (
          <option key={user} value={user}>
            {user === me ? `me (${visible(user, 60)})` : visible(user, 60)}
          </option>
        ))}
      </select>
    </label>
  )
}
