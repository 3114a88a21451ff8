/** One cursor and one raised run for all cards of a page; outside React, since it moves each frame. */

import type { XAxis } from "./types"

export interface Hover {
  axis: XAxis
  /** In the units of the axis; null when the pointer is on no chart. */
  x: number | null
}

type Listener = () => void

class HoverState {
  #hover: Hover = { axis: "step", x: null }
  #raised: string | null = null
  readonly #listeners = new Set<Listener>()
  readonly #raiseListeners = new Set<(runId: string | null) => void>()

  get hover(): Hover {
    return this.#hover
  }

  get raised(): string | null {
    return this.#raised
  }

  move(hover: Hover): void {
    if (hover.x === this.#hover.x && hover.axis === this.#hover.axis) return
    this.#hover = hover
    this.#tell()
  }

  raise(runId: string | null): void {
    if (runId === this.#raised) return
    this.#raised = runId
    this.#tell()
    for (const listener of this.#raiseListeners) listener(runId)
  }

  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  onRaise(listener: (runId: string | null) => void): () => void {
    this.#raiseListeners.add(listener)
    return () => this.#raiseListeners.delete(listener)
  }

  #isScheduled = false

  #tell(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    requestAnimationFrame(() => {
      this.#isScheduled = false
      for (const listener of this.#listeners) listener()
    })
  }
}

export const hoverState = new HoverState()
