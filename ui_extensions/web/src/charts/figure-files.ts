/** Panels as files: drawings as they are on the page, tables as CSV. */

import type { MenuItem } from "../controls/menu"
import { middleCut } from "../text/names"
import { csvCell, fileName, save } from "./export"

const SVG = "http://www.w3.org/2000/svg"
const HEAD = 32
const MARGIN = 12
/** What style sheets say of a drawing, and a file needs with it. */
const STYLES = ["fill", "stroke", "stroke-width", "font-size", "font-weight", "opacity"] as const

function colour(name: string, otherwise: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || otherwise
}

function element(name: string, attributes: Record<string, string | number>, text?: string): SVGElement {
  const made = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value))
  if (text !== undefined) made.textContent = text
  return made
}

function page(title: string, width: number, height: number): SVGElement {
  const made = element("svg", {
    xmlns: SVG,
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    "font-family": "sans-serif",
    "font-size": 11,
  })
  made.append(
    element("title", {}, title),
    element("rect", { width: "100%", height: "100%", fill: colour("--w-bg", "#fff") }),
    element("text", { x: MARGIN, y: 20, "font-size": 13, "font-weight": 600, fill: colour("--w-text", "#161616") }, title),
  )
  return made
}

/** XML has no place for some characters that names may have. */
function written(svg: SVGElement): string {
  return new XMLSerializer()
    .serializeToString(svg)
    .replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, "?")
}

/** A drawing on the page as a file's text: what style sheets say is written into it. */
export function svgOfFigure(drawn: SVGSVGElement, title: string): string {
  const width = drawn.clientWidth || drawn.width.baseVal.value
  const height = drawn.clientHeight || drawn.height.baseVal.value
  const copy = drawn.cloneNode(true) as SVGSVGElement
  const from = [...drawn.querySelectorAll<SVGElement>("*")]
  const to = [...copy.querySelectorAll<SVGElement>("*")]
  from.forEach((one, at) => {
    const own = to[at]
    if (!own || one.tagName === "title") return
    const style = getComputedStyle(one)
    for (const name of STYLES) {
      if (!own.hasAttribute(name)) own.setAttribute(name, style.getPropertyValue(name))
    }
    own.removeAttribute("class")
  })
  const made = page(title, width + 2 * MARGIN, height + HEAD + MARGIN)
  const place = element("g", { transform: `translate(${MARGIN},${HEAD})` })
  place.append(...copy.childNodes)
  made.append(place)
  return written(made)
}

/** A row of a panel with bars. */
export interface DrawnBar {
  readonly label: string
  readonly text: string
  readonly colour: string
  /** Shares of the track, from its left end. */
  readonly from: number
  readonly to: number
  readonly whisker?: readonly [number, number] | null
}

const ROW = 20
const LABEL = 180
const TRACK = 320
const VALUE = 120
const MAX_LABEL = 30

/** Rows with bars, as a file's text. */
export function svgOfBars(bars: readonly DrawnBar[], title: string): string {
  const made = page(title, LABEL + TRACK + VALUE + 2 * MARGIN, HEAD + bars.length * ROW + MARGIN)
  const plain = colour("--w-text", "#161616")
  bars.forEach((bar, at) => {
    const y = HEAD + at * ROW
    const x = MARGIN + LABEL
    const label = middleCut(bar.label, MAX_LABEL)
    made.append(
      element("text", { x: x - 8, y: y + 14, "text-anchor": "end", fill: plain }, label),
      element("rect", {
        x: x + bar.from * TRACK,
        y: y + 4,
        width: Math.max(1, (bar.to - bar.from) * TRACK),
        height: 12,
        rx: 2,
        fill: bar.colour,
      }),
      element("text", { x: x + TRACK + 8, y: y + 14, fill: plain }, bar.text),
    )
    if (bar.whisker) {
      const [low, high] = bar.whisker.map((share) => x + share * TRACK) as [number, number]
      made.append(element("path", { d: `M${low} ${y + 10}H${high}M${low} ${y + 6}v8M${high} ${y + 6}v8`, stroke: plain, fill: "none" }))
    }
  })
  return written(made)
}

function saveSvg(svg: string, title: string): void {
  save(new Blob([svg], { type: "image/svg+xml" }), fileName(title, "svg"))
}

/** The same as a picture of points, as fine as the screen's. */
async function savePng(svg: string, title: string): Promise<void> {
  const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }))
  try {
    const image = new Image()
    image.src = address
    await image.decode()
    const ratio = devicePixelRatio || 1
    const canvas = document.createElement("canvas")
    canvas.width = Math.round(image.naturalWidth * ratio)
    canvas.height = Math.round(image.naturalHeight * ratio)
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height)
    const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/png"))
    if (blob) save(blob, fileName(title, "png"))
  } finally {
    URL.revokeObjectURL(address)
  }
}

export type CsvCell = string | number | null

/** A table as a file that a spreadsheet reads, with no formula of anybody's in it. */
export function csvText(head: readonly string[], rows: readonly (readonly CsvCell[])[]): string {
  const lines = [head, ...rows].map((row) => row.map((cell) => csvCell(cell ?? "")).join(","))
  return `${lines.join("\r\n")}\r\n`
}

export function saveCsv(head: readonly string[], rows: readonly (readonly CsvCell[])[], title: string): void {
  save(new Blob([csvText(head, rows)], { type: "text/csv" }), fileName(title, "csv"))
}

interface Table {
  readonly head: readonly string[]
  readonly rows: readonly (readonly CsvCell[])[]
}

/** What a panel's menu offers to save it as; the drawing and the table are made when they are wanted. */
export function saveItems(title: string, svg: () => string, table: () => Table): MenuItem[] {
  return [
    { label: "Save as PNG", onSelect: () => void savePng(svg(), title) },
    { label: "Save as SVG", onSelect: () => saveSvg(svg(), title) },
    {
      label: "Save as CSV",
      onSelect: () => {
        const { head, rows } = table()
        saveCsv(head, rows, title)
      },
    },
  ]
}
