/** Pictures of the visible runs, closed until somebody asks: what there is, is looked up run by run. */

import { Suspense, useState } from "react"

import { Icon } from "../controls/icon"
import { later } from "../controls/later"
import { ErrorBoundary, Loading } from "../controls/state"
import type { DrawnRun } from "./types"

const Panels = later(async () => (await import("./media-panels")).MediaPanels)

export function MediaSection(props: { runs: readonly DrawnRun[]; width: number }) {
  const [isOpen, setOpen] = useState(false)
  return (
    <section className={`w-grid-section${isOpen ? " w-grid-open" : ""}`} aria-label="Media">
      <div className="w-grid-head">
        <h2>
          <button type="button" className="w-grid-fold" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            <Icon name={isOpen ? "chevronDown" : "chevronRight"} />
            Media <span className="w-grid-count">images by step, run beside run</span>
          </button>
        </h2>
      </div>
      {isOpen && (
        <ErrorBoundary what="The media">
          <Suspense fallback={<Loading label="Loading the media" rows={3} />}>
            <Panels {...props} />
          </Suspense>
        </ErrorBoundary>
      )}
    </section>
  )
}
