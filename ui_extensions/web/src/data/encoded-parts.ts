/** Parts of an answer as the server writes them, for tests. */

export type Column = [string, "u8" | "u32" | "f32" | "f64", number[]]
const TYPES = { u8: Uint8Array, u32: Uint32Array, f32: Float32Array, f64: Float64Array }

/** As `series_parts.encode_part` writes it. */
export function encoded(header: object, columns: Column[]): Uint8Array {
  const listed = { ...header, columns: columns.map(([name, kind, data]) => [name, kind, data.length]) }
  let text = JSON.stringify(listed)
  while ((text.length + 8) % 8 !== 0) text += " "
  const pieces = [new TextEncoder().encode(text)]
  for (const [, kind, data] of columns) {
    const raw = new Uint8Array(new TYPES[kind](data).buffer)
    pieces.push(raw, new Uint8Array((8 - (raw.length % 8)) % 8))
  }
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0)
  const out = new Uint8Array(8 + size)
  const view = new DataView(out.buffer)
  view.setUint32(0, size + 4, true)
  view.setUint32(4, text.length, true)
  let at = 8
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}
