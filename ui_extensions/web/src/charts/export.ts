/** Charts as files: PNG and SVG as they are shown, CSV of what the lines stand for. */

import type { ChartLine } from "./line"
import type { LineChart } from "./line-chart"
import type { Scale } from "./scale"
import { toPixel } from "./scale"
import { tick, xTick } from "./ticks"
import type { ChartSettings } from "./types"
import { cut, roundNumbers } from "./value-axis"

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
  for (const line of lines) {
    const { curve } = line
    let path = ""
    let isDown = false
    let before = -Infinity
    for (let at = 0; at < curve.x.length; at += 1) {
      const value = line.smoothed?.[at] ?? (curve.last[at] as number) + curve.offset
      const own = curve.x[at] as number
      const py = toY(value)
      if (!Number.isFinite(py)) {
        isDown = false
        continue
      }
      if (own < before) isDown = false
      before = own
      const px = toX(own)
      const high = toY((curve.high[at] as number) + curve.offset)
      const low = toY((curve.low[at] as number) + curve.offset)
      if (line.smoothed === null && isDown && Number.isFinite(high) && Number.isFinite(low) && high !== low) {
        path += `L${px.toFixed(2)} ${high.toFixed(2)}V${low.toFixed(2)}`
      }
      path += `${isDown ? "L" : "M"}${px.toFixed(2)} ${py.toFixed(2)}`
      isDown = true
    }
    parts.push(`<path d="${path}" stroke="${xml(line.colour)}"><title>${xml(line.name)}</title></path>`)
  }
  parts.push("</g></g>")
  named.forEach((line, at) => {
    const lx = 8 + (at % columns) * Math.floor(width / columns)
    const ly = foot + Math.floor(at / columns) * 16
    parts.push(
      `<rect x="${lx}" y="${ly}" width="10" height="10" fill="${xml(line.colour)}"/>`,
      `<text x="${lx + 16}" y="${ly + 9}">${xml(cut(line.name, MAX_NAME))}</text>`,
    )
  })
  parts.push("</svg>")
  return parts.join("\n")
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
  const rows = [["run", "run_id", "metric", `x (${settings.x})`, "last", "min", "max", "points"].map(csvCell).join(",")]
  for (const line of lines) {
    const { curve } = line
    for (let at = 0; at < curve.x.length; at += 1) {
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
