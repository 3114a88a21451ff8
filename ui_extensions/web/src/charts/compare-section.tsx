/** The panels that compare runs, closed until somebody asks: they read every param. */

import { Suspense, useState } from "react"

import { Icon } from "../controls/icon"
import { later } from "../controls/later"
import { ErrorBoundary, Loading } from "../controls/state"
import type { DrawnRun } from "./types"

const Panels = later(async () => (await import("./compare-panels")).ComparePanels)

export function CompareSection(props: {
  experimentIds: readonly string[]
  runs: readonly DrawnRun[]
  width: number
}) {
  const [isOpen, setOpen] = useState(false)
  return (
    <section className={`w-grid-section${isOpen ? " w-grid-open" : ""}`} aria-label="Params and metrics">
      <div className="w-grid-head">
        <h2>
          <button type="button" className="w-grid-fold" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            <Icon name={isOpen ? "chevronDown" : "chevronRight"} />
            Params and metrics <span className="w-grid-count">importance, parallel, scatter, bars</span>
          </button>
        </h2>
      </div>
      {isOpen && (
        <ErrorBoundary what="The panels">
          <Suspense fallback={<Loading label="Loading the panels" rows={3} />}>
            <Panels {...props} />
          </Suspense>
        </ErrorBoundary>
      )}
    </section>
  )
}
