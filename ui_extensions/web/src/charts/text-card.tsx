/** Markdown among the charts: what a section is for, what was found. */

import { Suspense } from "react"

import { later } from "../controls/later"
import { Loading } from "../controls/state"
import { NAME_LENGTH, visible } from "../text/visible"
import { CardFrame } from "./card-frame"
import type { CardPlaceProps } from "./card-frame"

const Markdown = later(async () => (await import("../text/markdown")).Markdown)

export function TextCard({
  text,
  title,
  name,
  ...place
}: CardPlaceProps & {
  text: string
  /** Above the text, where it has one. */
  title: string | undefined
  /** What the card is called. */
  name: string
}) {
  return (
    <CardFrame kind="text" title={title} name={name} {...place}>
      <div className="w-text-card" tabIndex={0} role="group" aria-label={`Text: ${visible(name, NAME_LENGTH)}`}>
        <Suspense fallback={<Loading rows={3} />}>
          <Markdown text={text} />
        </Suspense>
      </div>
    </CardFrame>
  )
}
