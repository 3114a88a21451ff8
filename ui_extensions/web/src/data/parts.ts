/**
 * Reading the answer of `POST series` (`ui_extensions/series_parts.py`) as it arrives: each part is
 * given out when it is whole, as typed arrays that are views of its bytes.
 */

import { ApiError } from "../api/client"
import type { BandCurve, Curve } from "./curve"

export interface Header {
  key: string
  kind: "lines" | "groups"
  level: number
  n_points: number
  most_points: number
  most_buckets: number
}

export interface Part {
  header: Header
  /** By place in the request. */
  lines: Map<number, { curve: Curve; isWhole: boolean }>
  groups: Map<number, BandCurve>
}

export type Numbers = Uint8Array | Uint32Array | Float32Array | Float64Array
const MAGIC = 0x31305357 // "WS01", little endian

/** Collects bytes, and gives out the parts that are whole. */
export class PartReader {
  #held = new Uint8Array(1 << 16)
  #length = 0
  #hasBegun = false

  /** Take more bytes; return what they complete. @throws ApiError where the server gave up. */
  push(bytes: Uint8Array): Part[] {
    if (this.#length + bytes.length > this.#held.length) {
      const size = Math.max(2 * this.#held.length, this.#length + bytes.length)
      const larger = new Uint8Array(size)
      larger.set(this.#held.subarray(0, this.#length))
      this.#held = larger
    }
    this.#held.set(bytes, this.#length)
    this.#length += bytes.length
    const parts: Part[] = []
    let at = 0
    const view = new DataView(this.#held.buffer)
    if (!this.#hasBegun && this.#length >= 4) {
      if (view.getUint32(0, true) !== MAGIC) throw new ApiError(0, "the answer is no series")
      this.#hasBegun = true
      at = 4
    }
    while (this.#hasBegun && at + 4 <= this.#length) {
      const size = 4 + view.getUint32(at, true)
      if (at + size > this.#length) break
      // A copy, so that columns lie at multiples of 8 in a buffer of their own.
      parts.push(readPart(this.#held.slice(at, at + size)))
      at += size
    }
    if (at > 0) {
      this.#held.copyWithin(0, at, this.#length)
      this.#length -= at
    }
    return parts
  }

  /** Say that there is no more. @throws ApiError where that is too early. */
  end(): void {
    if (!this.#hasBegun || this.#length > 0) throw new ApiError(0, "the server's answer is cut")
  }
}

function readPart(bytes: Uint8Array): Part {
  const headerSize = new DataView(bytes.buffer).getUint32(4, true)
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerSize))) as Header & {
    error?: string
    columns: [string, string, number][]
    shared?: string[]
  }
  if (header.error !== undefined) throw new ApiError(503, header.error)
  const columns = new Map<string, Numbers>()
  let at = 8 + headerSize
  for (const [name, type, n] of header.columns) {
    const column = view(bytes.buffer, type, at, n)
    columns.set(name, column)
    at += Math.ceil(column.byteLength / 8) * 8
  }
  return partOf(header, columns)
}

/** A part of its columns. @throws ApiError where one is missing. */
export function partOf(header: Header & { shared?: string[] }, columns: Map<string, Numbers>): Part {
  const part: Part = { header, lines: new Map(), groups: new Map() }
  if (header.kind === "groups") readGroups(columns, part)
  else readLines(columns, new Set(header.shared), part)
  return part
}

/** A column in its bytes. */
export function view(buffer: ArrayBufferLike, type: string, at: number, n: number): Numbers {
  switch (type) {
    case "u8":
      return new Uint8Array(buffer, at, n)
    case "u32":
      return new Uint32Array(buffer, at, n)
    case "f32":
      return new Float32Array(buffer, at, n)
    case "f64":
      return new Float64Array(buffer, at, n)
    default:
      throw new ApiError(0, `the answer has columns of type ${type}`)
  }
}

function required(columns: Map<string, Numbers>, name: string): Numbers {
  const column = columns.get(name)
  if (column === undefined) throw new ApiError(0, `the answer lacks its column ${name}`)
  return column
}

type Real = Float64Array | Float32Array

function readLines(columns: Map<string, Numbers>, shared: ReadonlySet<string>, part: Part): void {
  const run = required(columns, "run")
  const start = required(columns, "start")
  const total = required(columns, "total")
  const whole = required(columns, "whole")
  const offset = required(columns, "offset")
  for (let line = 0; line < run.length; line += 1) {
    const from = start[line] as number
    const to = start[line + 1] as number
    const rows = <T extends Numbers>(name: string): T | null => {
      const column = columns.get(name)
      if (column === undefined) return null
      return (shared.has(name) ? column : column.subarray(from, to)) as T
    }
    const count = rows<Uint32Array>("count")
    // The column is there for all lines where one of them goes back.
    const piece = rows<Uint8Array>("piece")
    let shown = to - from
    if (count) {
      shown = 0
      for (let at = 0; at < count.length; at += 1) shown += count[at] as number
    }
    part.lines.set(run[line] as number, {
      isWhole: whole[line] === 1,
      curve: {
        x: rows<Float64Array>("x") ?? new Float64Array(0),
        low: rows<Real>("low") ?? new Float64Array(0),
        high: rows<Real>("high") ?? new Float64Array(0),
        last: rows<Real>("last") ?? new Float64Array(0),
        offset: offset[line] as number,
        count,
        mean: rows<Real>("mean"),
        nan: rows<Uint32Array>("nan"),
        inf: rows<Uint8Array>("inf"),
        piece: piece?.some((own) => own > 0) ? piece : null,
        total: total[line] as number,
        shown,
      },
    })
  }
}

function readGroups(columns: Map<string, Numbers>, part: Part): void {
  const group = required(columns, "group")
  const start = required(columns, "start")
  for (let at = 0; at < group.length; at += 1) {
    const rows = (name: string): Numbers =>
      required(columns, name).subarray(start[at] as number, start[at + 1] as number)
    part.groups.set(group[at] as number, {
      x: rows("x") as Float64Array,
      n: rows("n") as Uint32Array,
      centre: rows("centre") as Float64Array,
      low: rows("low") as Float64Array,
      high: rows("high") as Float64Array,
    })
  }
}
