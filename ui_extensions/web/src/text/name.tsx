/** A name on one line: where there is no room for all of it, an ellipsis in its middle. */

import { shownName } from "./names"

/**
 * @param prefix What all names beside it begin with, which is folded.
 * @param title What the pointer is told: the name in full, or nothing of its own (null).
 */
export function Name({
  text,
  prefix = "",
  title,
}: {
  text: string
  prefix?: string
  title?: string | null | undefined
}) {
  const { head, tail, full } = shownName(text, "", prefix)
  return (
    <span className="w-name" title={title === null ? undefined : (title ?? full)} dir="auto">
      <span className="w-name-head">{head}</span>
      {tail && <span className="w-name-tail">{tail}</span>}
    </span>
  )
}
