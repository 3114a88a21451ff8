/** Which part of a canvas a line may have touched. */

import type { ChartLine } from "./line"
import type { Pen } from "./paint"

/** Rectangles in whole pixels of the canvas: left, top, width, height. */
export type Area = readonly (readonly [number, number, number, number])[]

const STRIPS = 8
/** Half of a line, its joints and the dots of points, in CSS pixels. */
const MARGIN = 4

/**
 * Strips of the chart, each as high as the line is there: a spike makes one of them high, not all.
 *
 * @param ratio Pixels of the canvas in a CSS pixel.
 */
export function areaOf(line: ChartLine, pen: Omit<Pen, "context">, ratio: number): Area {
  const { curve, band, smoothed } = line
  const { x, low, high, last, offset } = curve
  const width = pen.width / STRIPS
  const tops = new Float64Array(STRIPS).fill(Infinity)
  const bottoms = new Float64Array(STRIPS).fill(-Infinity)
  const stripOf = (px: number): number => Math.max(0, Math.min(STRIPS - 1, Math.floor(px / width)))
  let fromX = NaN
  let fromTop = 0
  let fromBottom = 0
  for (let at = 0; at < x.length; at += 1) {
    const px = pen.x(x[at] as number)
    let top = Infinity
    let bottom = -Infinity
    const take = (value: number): void => {
      const py = pen.y(value)
      // Without a place on the axis the stroke may run to the chart's edges.
      top = Math.min(top, py === py ? py : 0)
      bottom = Math.max(bottom, py === py ? py : pen.height)
    }
    take((last[at] as number) + offset)
    take((low[at] as number) + offset)
    take((high[at] as number) + offset)
    if (smoothed) take(smoothed[at] as number)
    if (band) {
      take(band.low[at] as number)
      take(band.high[at] as number)
    }
    // What joins two points lies between them in each strip that it crosses.
    const joined = fromX === fromX
    const first = stripOf((joined ? Math.min(fromX, px) : px) - MARGIN)
    const end = stripOf((joined ? Math.max(fromX, px) : px) + MARGIN)
    for (let strip = first; strip <= end; strip += 1) {
      tops[strip] = Math.min(tops[strip] as number, top, joined ? fromTop : top)
      bottoms[strip] = Math.max(bottoms[strip] as number, bottom, joined ? fromBottom : bottom)
    }
    fromX = px
    fromTop = top
    fromBottom = bottom
  }
  const area: [number, number, number, number][] = []
  for (let strip = 0; strip < STRIPS; strip += 1) {
    const top = Math.max(0, Math.floor(((tops[strip] as number) - MARGIN) * ratio))
    const bottom = Math.min(Math.ceil(pen.height * ratio), Math.ceil(((bottoms[strip] as number) + MARGIN) * ratio))
    if (!(bottom > top)) continue
    const left = Math.floor(strip * width * ratio)
    const right = Math.ceil((strip + 1) * width * ratio)
    area.push([left, top, right - left, bottom - top])
  }
  return area
}
