/** Images of the visible runs, run beside run, by step. */

import { CardFrame } from "./card-frame"
import { MediaPanels } from "./media-panels"
import type { PanelProps } from "./panel-props"
import { KIND_WORDS, titleOf } from "./sections"

export function MediaCard(props: PanelProps) {
  const { card, runs, width } = props
  const title = titleOf(card)
  const name = title === KIND_WORDS.media ? title : `${KIND_WORDS.media}: ${title}`
  return (
    <CardFrame {...props} kind="media" title={title} name={name}>
      <div className="w-panel-scroll" tabIndex={0} role="group" aria-label={`Scroll: ${name}`}>
        <MediaPanels runs={runs} width={width - 26} only={card.keys} />
      </div>
    </CardFrame>
  )
}
