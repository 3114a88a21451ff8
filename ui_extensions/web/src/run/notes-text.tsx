import { Suspense } from "react"

import { later } from "../controls/later"
import { Loading } from "../controls/state"

const Markdown = later(async () => (await import("../text/markdown")).Markdown)

/** A run's notes, to be read. */
export function NotesText({ text }: { text: string }) {
  if (!text) return <p className="w-secondary">No notes.</p>
  return (
    <Suspense fallback={<Loading rows={3} />}>
      <Markdown text={text} />
    </Suspense>
  )
}
