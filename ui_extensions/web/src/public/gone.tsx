import { Shell } from "./shell"

/** What `gone.html` says, for a page that was open when its link ended. */
export function Gone() {
  return (
    <Shell title="This link does not work (any more)">
      <p className="w-visit-words">Ask the person who gave it to you.</p>
    </Shell>
  )
}
