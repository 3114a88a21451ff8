/** Two fingers on a plot: what lay under them stays under them. */

/** Fingers nearer to one another than this say nothing about how far. */
const LEAST_PX = 24

export type Fingers = readonly [number, number]

/**
 * Where the ends of a plot come from: pixels of before that lie at its left and right after a pinch.
 * Null where the fingers are too near, or have changed sides.
 *
 * @param from Where the fingers were put.
 * @param to Where they are.
 * @param size Pixels of the plot.
 */
export function pinched(from: Fingers, to: Fingers, size: number): [number, number] | null {
  const before = from[1] - from[0]
  const after = to[1] - to[0]
  if (Math.abs(before) < LEAST_PX || Math.abs(after) < LEAST_PX || before > 0 !== after > 0) return null
  const scale = after / before
  const left = from[0] - to[0] / scale
  return [left, left + size / scale]
}

/**
 * Follow two fingers on a plot.
 *
 * @param onMove How to draw what is there until there is better; null for as it is.
 * @param onEnd Given the ends, in pixels of before.
 */
export function followPinch(
  over: HTMLElement,
  onMove: (transform: string | null) => void,
  onEnd: (left: number, right: number) => void,
): void {
  const fingers = new Map<number, { from: number; to: number }>()
  const ends = (): [number, number] | null => {
    const [one, other] = [...fingers.values()]
    if (one === undefined || other === undefined) return null
    return pinched([one.from, other.from], [one.to, other.to], over.clientWidth)
  }
  over.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch" || fingers.size === 2) return
    const at = event.clientX - over.getBoundingClientRect().left
    for (const finger of fingers.values()) finger.from = finger.to
    fingers.set(event.pointerId, { from: at, to: at })
  })
  over.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId)
    if (finger === undefined) return
    finger.to = event.clientX - over.getBoundingClientRect().left
    const found = ends()
    if (found === null) return
    const scale = over.clientWidth / (found[1] - found[0])
    onMove(`translateX(${-found[0] * scale}px) scaleX(${scale})`)
  })
  const onLift = (event: PointerEvent): void => {
    const found = fingers.has(event.pointerId) ? ends() : null
    fingers.delete(event.pointerId)
    if (found === null) return
    fingers.clear()
    onMove(null)
    if (event.type === "pointerup") onEnd(...found)
  }
  over.addEventListener("pointerup", onLift)
  over.addEventListener("pointercancel", onLift)
}
