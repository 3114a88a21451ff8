/** One cursor and one raised run for all cards of a page; outside React, since it moves each frame. */

import type { XAxis } from "./types"

export interface Hover {
  axis: XAxis
  /** In the units of the axis; null when the pointer is on no chart. */
  x: number | null
}

/** A cursor that stays where it was put, on the chart where it was put. */
export interface Pin {
  axis: XAxis
  x: number
  /** In the units of the chart's y axis: which lines are near. */
  y: number
  /** The chart's name. */
  chart: string
}

type Listener = () => void

class HoverState {
  #hover: Hover = { axis: "step", x: null }
  #raised: string | null = null
  #pin: Pin | null = null
  readonly #listeners = new Set<Listener>()
  readonly #raiseListeners = new Set<(runId: string | null) => void>()
  readonly #pinListeners = new Set<(pin: Pin | null) => void>()

  get hover(): Hover {
    return this.#pin ?? this.#hover
  }

  get raised(): string | null {
    return this.#raised
  }

  get pin(): Pin | null {
    return this.#pin
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

  /** Keep the cursor where it is; null lets go of it. */
  setPin(pin: Pin | null): void {
    if (pin === this.#pin) return
    this.#pin = pin
    this.#tell()
    for (const listener of this.#pinListeners) listener(pin)
  }

  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  onRaise(listener: (runId: string | null) => void): () => void {
    this.#raiseListeners.add(listener)
    return () => this.#raiseListeners.delete(listener)
  }

  onPin(listener: (pin: Pin | null) => void): () => void {
    this.#pinListeners.add(listener)
    return () => this.#pinListeners.delete(listener)
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
