/**
 * Lines of published runs, in place of `data/ask-series.ts`. What was published is each metric once
 * along steps and once along the time since the run's beginning, in more buckets than a chart is
 * wide: a zoom is into these.
 */

import { ApiError } from "../api/error"
import type { BandCurve, Curve } from "../data/curve"
import type { Header, Numbers, Part } from "../data/parts"
import { partOf, view } from "../data/parts"
import type { SeriesQuestion } from "../data/ask-series"
import { bandOf, joined, widthOf, withoutPauses } from "./bands"
import { bytesOf } from "./data"
import type { Curves } from "./set"
import { momentOf, publishedSet } from "./set"

export type { SeriesQuestion } from "../data/ask-series"

interface PieceHeader extends Header {
  readonly columns: readonly [name: string, type: string, n: number][]
  readonly shared?: string[]
  /** Columns that are as another one is. */
  readonly same: Readonly<Record<string, string>>
}

const AXES: Record<string, "step" | "relative"> = {
  step: "step",
  wall: "relative",
  relative: "relative",
  process: "relative",
}

/** Answer what the charts ask. @throws ApiError where it was not published. */
export async function* askSeries(
  question: SeriesQuestion,
  options: { signal: AbortSignal; onBytes: (n: number) => void },
): AsyncGenerator<Part> {
  const other = question.x.startsWith("m:") ? question.x.slice(2) : null
  const axis = other === null ? AXES[question.x] : "step"
  if (axis === undefined) throw new ApiError(400, "published pages have no such x axis")
  const published = await publishedSet()
  const set = momentOf(published, question.at) ?? published
  const beside = other === null ? null : (await read(set, other, axis, options)).curves
  for (const { key } of question.parts) {
    const { header, curves } = await read(set, key, axis, options)
    const shown = question.runs.map((id) => {
      const curve = curves.get(id)
      if (curve === undefined) return null
      if (beside !== null) {
        const x = beside.get(id)
        return x === undefined ? null : joined(curve, x)
      }
      if (question.x === "process") return withoutPauses(curve)
      return question.x === "wall" ? moved(curve, set.first_ms[id] ?? 0) : curve
    })
    if (question.groups !== undefined) yield grouped(header, shown, question)
    else {
      const lines = new Map<number, { curve: Curve; isWhole: boolean }>()
      shown.forEach((curve, place) => {
        if (curve !== null) lines.set(place, { curve, isWhole: true })
      })
      yield { header, lines, groups: new Map() }
    }
  }
}

/** Read a metric's lines, all that there are. */
async function read(
  set: Curves,
  key: string,
  axis: "step" | "relative",
  options: { signal: AbortSignal; onBytes: (n: number) => void },
): Promise<{ header: Header; curves: Map<string, Curve> }> {
  const curves = new Map<string, Curve>()
  let header: Header = { key, kind: "lines", level: 0, n_points: 0, most_points: 0, most_buckets: 0 }
  const pieces = Object.hasOwn(set.series, key) ? (set.series[key]?.[axis] ?? []) : []
  for (const [name, chunk] of pieces) {
    const bytes = await bytesOf(name)
    if (options.signal.aborted) throw new DOMException("nobody wants it any more", "AbortError")
    options.onBytes(bytes.byteLength)
    const part = readPiece(bytes)
    header = together(header, part.header)
    for (const [place, { curve }] of part.lines) {
      const id = set.chunks[chunk]?.[place]
      if (id !== undefined) curves.set(id, curve)
    }
  }
  return { header, curves }
}

/** Put runs into the groups that were asked for: places in the question's runs. */
function grouped(header: Header, shown: readonly (Curve | null)[], question: SeriesQuestion): Part {
  const groups = new Map<number, BandCurve>()
  const there = shown.filter((curve) => curve !== null)
  const nBuckets = Math.max(1, Number(question.buckets))
  // What is a point each has cells of any width.
  const isBucketed = there.some((curve) => curve.count?.some((n) => n > 1))
  const width = widthOf(there, nBuckets, question.x.startsWith("m:") ? null : isBucketed ? header.level : 0)
  for (const [group, places] of (question.groups as readonly (readonly number[])[]).entries()) {
    const members = places.map((place) => shown[place] ?? null).filter((curve) => curve !== null)
    const band = bandOf(members, width, String(question.centre), String(question.band))
    if (band !== null) groups.set(group, band)
  }
  return { header: { ...header, kind: "groups" }, lines: new Map(), groups }
}

function together(one: Header, other: Header): Header {
  return {
    key: one.key,
    kind: "lines",
    level: Math.max(one.level, other.level),
    n_points: one.n_points + other.n_points,
    most_points: Math.max(one.most_points, other.most_points),
    most_buckets: Math.max(one.most_buckets, other.most_buckets),
  }
}

function moved(curve: Curve, byMs: number): Curve {
  return { ...curve, x: curve.x.map((x) => x + byMs) }
}

/** Read a piece as `publishing/series_pieces.py` writes it. */
export function readPiece(bytes: ArrayBuffer): Part {
  const size = new DataView(bytes).getUint32(0, true)
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, size))) as PieceHeader
  const columns = new Map<string, Numbers>()
  let at = 4 + size
  for (const [name, type, n] of header.columns) {
    const width = { u8: 1, u32: 4, f32: 4, f64: 8 }[type] ?? 0
    columns.set(name, view(inRow(new Uint8Array(bytes, at, n * width), width), type, 0, n))
    at += n * width
  }
  for (const [name, other] of Object.entries(header.same)) {
    const column = columns.get(other)
    if (column) columns.set(name, column)
  }
  return partOf(header, columns)
}

/** Put the bytes of each number together: all first bytes come first, as these are much alike. */
function inRow(apart: Uint8Array, width: number): ArrayBuffer {
  const found = new Uint8Array(apart.length)
  const n = apart.length / width
  for (let byte = 0; byte < width; byte += 1) {
    const from = byte * n
    for (let at = 0; at < n; at += 1) found[at * width + byte] = apart[from + at] as number
  }
  return found.buffer
}
