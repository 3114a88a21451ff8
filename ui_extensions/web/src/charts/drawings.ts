/** Charts that are on the page, as drawings of their own: for what exports the page around them. */

const drawings = new WeakMap<Element, () => string | null>()

/** Say how the chart in an element is drawn; returns how to take that back. */
export function keepDrawing(place: Element, draw: () => string | null): () => void {
  drawings.set(place, draw)
  return () => drawings.delete(place)
}

/** The charts within an element as SVG, in the order of the page. */
export function drawingsIn(place: Element): string[] {
  return [...place.querySelectorAll(".w-chart")].flatMap((one) => drawings.get(one)?.() ?? [])
}
