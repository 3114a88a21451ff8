/**
 * Lines of published runs, in place of `data/ask-series.ts`. What was published is each metric once
 * along steps and once along the time since the run's beginning, in more buckets than a chart is
 * wide: a zoom is into these.
 */

import { ApiError } from "../api/error"
import type { Curve } from "../data/curve"
import type { Header, Numbers, Part } from "../data/parts"
import { partOf, view } from "../data/parts"
import type { SeriesQuestion } from "../data/ask-series"
import { bytesOf } from "./data"
import { publishedSet } from "./set"

export type { SeriesQuestion } from "../data/ask-series"

interface PieceHeader extends Header {
  readonly columns: readonly [name: string, type: string, n: number][]
  readonly shared?: string[]
  /** Columns that are as another one is. */
  readonly same: Readonly<Record<string, string>>
}

const AXES: Record<string, "step" | "relative"> = { step: "step", wall: "relative", relative: "relative" }

/** Answer what the charts ask. @throws ApiError where it was not published. */
export async function* askSeries(
  question: SeriesQuestion,
  options: { signal: AbortSignal; onBytes: (n: number) => void },
): AsyncGenerator<Part> {
  const set = await publishedSet()
  const axis = AXES[question.x]
  if (axis === undefined) throw new ApiError(400, "published pages have no such x axis")
  for (const { key } of question.parts) {
    const curves = new Map<string, Curve>()
    let header: Header = { key, kind: "lines", level: 0, n_points: 0, most_points: 0, most_buckets: 0 }
    const pieces = Object.hasOwn(set.series, key) ? (set.series[key]?.[axis] ?? []) : []
    for (const [name, chunk] of pieces) {
      const bytes = await bytesOf(name)
      if (options.signal.aborted) throw new DOMException("nobody wants it any more", "AbortError")
      options.onBytes(bytes.byteLength)
      const part = readPiece(bytes)
      header = joined(header, part.header)
      for (const [place, { curve }] of part.lines) {
        const id = set.chunks[chunk]?.[place]
        if (id === undefined) continue
        curves.set(id, question.x === "wall" ? moved(curve, set.first_ms[id] ?? 0) : curve)
      }
    }
    const lines = new Map<number, { curve: Curve; isWhole: boolean }>()
    question.runs.forEach((id, place) => {
      const curve = curves.get(id)
      if (curve) lines.set(place, { curve, isWhole: true })
    })
    yield { header, lines, groups: new Map() }
  }
}

function joined(one: Header, other: Header): Header {
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
    columns.set(name, view(together(new Uint8Array(bytes, at, n * width), width), type, 0, n))
    at += n * width
  }
  for (const [name, other] of Object.entries(header.same)) {
    const column = columns.get(other)
    if (column) columns.set(name, column)
  }
  return partOf(header, columns)
}

/** Put the bytes of each number together: all first bytes come first, as these are much alike. */
function together(apart: Uint8Array, width: number): ArrayBuffer {
  const found = new Uint8Array(apart.length)
  const n = apart.length / width
  for (let byte = 0; byte < width; byte += 1) {
    const from = byte * n
    for (let at = 0; at < n; at += 1) found[at * width + byte] = apart[from + at] as number
  }
  return found.buffer
}
