/** Charts as files: PNG and SVG as they are shown, CSV of what the lines stand for. */

import type { BandCurve } from "../data/curve"
import { middleCut } from "../text/names"
import type { ChartLine } from "./line"
import type { LineChart } from "./line-chart"
import { DASHED_LINES, DASHES, FAINT, SHADE } from "./paint"
import type { Scale } from "./scale"
import { toPixel } from "./scale"
import { tick, xTick } from "./ticks"
import type { ChartSettings } from "./types"
import { roundNumbers } from "./value-axis"

const MAX_LEGEND = 30
const LEGEND_WIDTH = 180
const MAX_NAME = 26

/** A name that every file system takes. */
export function fileName(title: string, ending: string): string {
  const clean = title.normalize("NFC").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "")
  return `${clean.slice(0, 80) || "chart"}.${ending}`
}

export function save(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob)
  const link = document.createElement("a")
  link.href = address
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

export async function exportPng(chart: LineChart, title: string, lines: readonly ChartLine[]): Promise<void> {
  const style = getComputedStyle(document.documentElement)
  const flat = chart.flatten(style.getPropertyValue("--w-bg").trim() || "#fff")
  const ratio = devicePixelRatio || 1
  const legend = lines.slice(0, MAX_LEGEND)
  const head = 28 * ratio
  const made = document.createElement("canvas")
  made.width = flat.width
  made.height = head + flat.height + legend.length * 16 * ratio
  const context = made.getContext("2d")
  if (!context) return
  context.fillStyle = style.getPropertyValue("--w-bg").trim() || "#fff"
  context.fillRect(0, 0, made.width, made.height)
  context.drawImage(flat, 0, head)
  context.scale(ratio, ratio)
  context.fillStyle = style.getPropertyValue("--w-text").trim()
  context.font = "600 13px sans-serif"
  context.fillText(title, 8, 18)
  context.font = "12px sans-serif"
  legend.forEach((line, at) => {
    const y = 28 + flat.height / ratio + at * 16 + 11
    context.fillStyle = line.colour
    context.fillRect(8, y - 8, 10, 10)
    context.fillStyle = style.getPropertyValue("--w-text").trim()
    context.fillText(line.name.slice(0, 120), 24, y)
  })
  const blob = await new Promise<Blob | null>((done) => made.toBlob(done, "image/png"))
  if (blob) save(blob, fileName(title, "png"))
}

const xml = (text: string): string =>
  text.replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, "?").replace(
    /[&<>"']/g,
    (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c] as string,
  )

/** The chart as a drawing of its own, every line a path. */
export function svgOf(chart: LineChart, title: string, lines: readonly ChartLine[]): string {
  const { x, y } = chart.scales
  const toX = toPixel(x)
  const toY = toPixel(y)
  const axis = chart.state.settings.x
  const left = 56
  const top = 32
  const width = x.size + left + 24
  const named = lines.slice(0, MAX_LEGEND)
  const columns = Math.max(1, Math.floor(width / LEGEND_WIDTH))
  const foot = y.size + top + 32
  const height = foot + Math.ceil(named.length / columns) * 16 + 4
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<title>${xml(title)}</title><rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="8" y="18" font-size="13" font-weight="600">${xml(title)}</text>`,
    `<g transform="translate(${left},${top})">`,
    `<clipPath id="c"><rect width="${x.size}" height="${y.size}"/></clipPath>`,
  ]
  const isNumber = axis === "step" || axis.startsWith("m:")
  for (const xv of marksOf(x, isNumber)) {
    const px = toX(xv)
    parts.push(
      `<path d="M${px} 0V${y.size}" stroke="#ebebeb" fill="none"/>`,
      `<text x="${px}" y="${y.size + 16}" text-anchor="middle" fill="#6f6f6f">${xml(axis === "wall" ? new Date(xv).toISOString().slice(0, 16) : xTick(axis, xv))}</text>`,
    )
  }
  for (const yv of marksOf(y, true)) {
    const py = toY(yv)
    parts.push(
      `<path d="M0 ${py}H${x.size}" stroke="#ebebeb" fill="none"/>`,
      `<text x="-6" y="${py + 4}" text-anchor="end" fill="#6f6f6f">${xml(tick(yv))}</text>`,
    )
  }
  parts.push('<g clip-path="url(#c)" fill="none" stroke-width="1.5" stroke-linejoin="round">')
  const toPoint: ToPoint = (xv, yv) => [toX(xv), toY(yv)]
  // As on the page: what is behind all lines first.
  for (const line of lines) {
    const colour = xml(line.colour)
    if (line.band) {
      parts.push(`<path d="${bandPath(line.band, toPoint)}" fill="${colour}" fill-opacity="${SHADE}"/>`)
    }
    if (line.smoothed && chart.state.settings.smoothing.original) {
      parts.push(`<path d="${linePath(line, null, toPoint)}" stroke="${colour}" stroke-opacity="${FAINT}"/>`)
    }
  }
  const hasDashes = lines.length <= DASHED_LINES
  for (const line of lines) {
    const path = `<path d="${linePath(line, line.smoothed, toPoint)}" stroke="${xml(line.colour)}"><title>${xml(line.name)}</title></path>`
    const dashes = hasDashes ? DASHES[line.dash] : []
    parts.push(dashes?.length ? `<g stroke-dasharray="${dashes.join(" ")}">${path}</g>` : path)
  }
  parts.push("</g></g>")
  named.forEach((line, at) => {
    const lx = 8 + (at % columns) * Math.floor(width / columns)
    const ly = foot + Math.floor(at / columns) * 16
    parts.push(
      `<rect x="${lx}" y="${ly}" width="10" height="10" fill="${xml(line.colour)}"/>`,
      `<text x="${lx + 16}" y="${ly + 9}">${xml(middleCut(line.name, MAX_NAME))}</text>`,
    )
  })
  parts.push("</svg>")
  return parts.join("\n")
}

/** A place on the drawing; NaN where the axis has none. */
type ToPoint = (x: number, y: number) => [number, number]

const at2 = ([px, py]: readonly [number, number]): string => `${px.toFixed(2)} ${py.toFixed(2)}`

/** @param smoothed What is drawn instead of the values; null for these, with the range of each bucket. */
function linePath({ curve }: ChartLine, smoothed: Float64Array | null, toPoint: ToPoint): string {
  let path = ""
  let isDown = false
  let before = -Infinity
  for (let at = 0; at < curve.x.length; at += 1) {
    const own = curve.x[at] as number
    const point = toPoint(own, smoothed?.[at] ?? (curve.last[at] as number) + curve.offset)
    if (!Number.isFinite(point[1])) {
      isDown = false
      continue
    }
    if (own < before) isDown = false
    before = own
    const [px, high] = toPoint(own, (curve.high[at] as number) + curve.offset)
    const low = toPoint(own, (curve.low[at] as number) + curve.offset)[1]
    if (smoothed === null && isDown && Number.isFinite(high) && Number.isFinite(low) && high !== low) {
      path += `L${at2([px, high])}V${low.toFixed(2)}`
    }
    path += `${isDown ? "L" : "M"}${at2(point)}`
    isDown = true
  }
  return path
}

/** The area between the edges of a group's band, piece by piece. */
function bandPath({ x, low, high }: BandCurve, toPoint: ToPoint): string {
  let path = ""
  let up: string[] = []
  let down: string[] = []
  const close = (): void => {
    if (up.length > 1) path += `M${[...up, ...down.reverse()].join("L")}Z`
    up = []
    down = []
  }
  for (let at = 0; at < x.length; at += 1) {
    const top = toPoint(x[at] as number, high[at] as number)
    const bottom = toPoint(x[at] as number, low[at] as number)
    if (Number.isFinite(top[1]) && Number.isFinite(bottom[1])) {
      up.push(at2(top))
      down.push(at2(bottom))
    } else close()
  }
  close()
  return path
}

/** Where an axis is marked: at round values where it is a plain one of numbers, else at its quarters. */
export function marksOf({ kind, min, max }: Pick<Scale, "kind" | "min" | "max">, isNumber: boolean): number[] {
  if (kind === "linear" && isNumber && max > min) return roundNumbers(min, max, 6)
  return [0, 0.25, 0.5, 0.75, 1].map((share) => valueAt(kind, min, max, share))
}

function valueAt(kind: string, min: number, max: number, share: number): number {
  if (kind === "log") return 10 ** (Math.log10(min) + share * (Math.log10(max) - Math.log10(min)))
  return min + share * (max - min)
}

export function exportSvg(chart: LineChart, title: string, lines: readonly ChartLine[]): void {
  save(new Blob([svgOf(chart, title, lines)], { type: "image/svg+xml" }), fileName(title, "svg"))
}

/** A cell that no spreadsheet takes for a formula. */
export function csvCell(value: string | number): string {
  if (typeof value === "number") return String(value)
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return `"${safe.replaceAll('"', '""')}"`
}

/** A row a bucket; a bucket of one is a point. */
export function csvOf(settings: ChartSettings, lines: readonly ChartLine[]): string {
  const hasBands = lines.some((line) => line.band !== null)
  const head = ["run", "run_id", "metric", `x (${settings.x})`, "last", "min", "max", "points"]
  if (hasBands) head.push("band from", "band to", "runs")
  const rows = [head.map(csvCell).join(",")]
  for (const line of lines) {
    const { band, curve } = line
    for (let at = 0; at < curve.x.length; at += 1) {
      const edges = band === null ? ["", "", ""] : [band.low[at] ?? "", band.high[at] ?? "", band.n[at] ?? ""]
      rows.push(
        [
          line.name,
          line.runId,
          line.key,
          curve.x[at] as number,
          (curve.last[at] as number) + curve.offset,
          (curve.low[at] as number) + curve.offset,
          (curve.high[at] as number) + curve.offset,
          curve.count?.[at] ?? 1,
          ...(hasBands ? edges : []),
        ]
          .map(csvCell)
          .join(","),
      )
    }
  }
  return `${rows.join("\r\n")}\r\n`
}

export function exportCsv(title: string, settings: ChartSettings, lines: readonly ChartLine[]): void {
  save(new Blob([csvOf(settings, lines)], { type: "text/csv" }), fileName(title, "csv"))
}
