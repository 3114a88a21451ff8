/** One metric of one run, as buckets that the server made; a bucket of one is a point. */
export interface Curve {
  /** x of each bucket's last point; goes back only where a new piece begins. */
  readonly x: Float64Array
  readonly low: Float64Array | Float32Array
  readonly high: Float64Array | Float32Array
  readonly last: Float64Array | Float32Array
  /** What `low`, `high`, `last` and `mean` are relative to. */
  readonly offset: number
  readonly count: Uint32Array | null
  readonly mean: Float64Array | Float32Array | null
  readonly nan: Uint32Array | null
  /** Bits: 1 for +∞, 2 for −∞. */
  readonly inf: Uint8Array | null
  readonly piece: Uint8Array | null
  /** All points of the run, also those out of view. */
  readonly total: number
  /** Points that the buckets stand for. */
  readonly shown: number
}

/** A group of runs: one line with a band. */
export interface BandCurve {
  readonly x: Float64Array
  readonly n: Uint32Array
  readonly centre: Float64Array
  readonly low: Float64Array
  readonly high: Float64Array
}

/** The last bucket begins after the one before: everything from there on can be asked for anew. */
export function growthPoint(curve: Curve): { from: number; have: number } | null {
  const { x, count } = curve
  if (count === null || curve.piece !== null || x.length < 2) return null
  let have = 0
  for (let at = 0; at < count.length - 1; at += 1) have += count[at] as number
  return { from: (x[x.length - 2] as number) + 1, have }
}

/** Put what came new in the place of the end of what is there. */
export function continued(curve: Curve, more: Curve): Curve {
  const keep = curve.x.length - 1
  const shift = (values: Float64Array | Float32Array, offset: number): Float64Array => {
    const found = new Float64Array(values.length)
    for (let at = 0; at < values.length; at += 1) found[at] = (values[at] as number) + offset
    return found
  }
  const numbers = (name: "low" | "high" | "last"): Float64Array => {
    const found = new Float64Array(keep + more.x.length)
    found.set(shift(curve[name], curve.offset).subarray(0, keep))
    found.set(shift(more[name], more.offset), keep)
    return found
  }
  const x = new Float64Array(keep + more.x.length)
  x.set(curve.x.subarray(0, keep))
  x.set(more.x, keep)
  const count = new Uint32Array(x.length)
  count.set((curve.count as Uint32Array).subarray(0, keep))
  count.set(more.count as Uint32Array, keep)
  let mean: Float64Array | null = null
  if (curve.mean && more.mean) {
    mean = new Float64Array(x.length)
    mean.set(shift(curve.mean, curve.offset).subarray(0, keep))
    mean.set(shift(more.mean, more.offset), keep)
  }
  const bits = <T extends Uint32Array | Uint8Array>(
    make: new (n: number) => T,
    one: T | null,
    other: T | null,
  ): T | null => {
    if (one === null && other === null) return null
    const found = new make(x.length)
    if (one) found.set(one.subarray(0, keep))
    if (other) found.set(other, keep)
    return found
  }
  return {
    x,
    low: numbers("low"),
    high: numbers("high"),
    last: numbers("last"),
    offset: 0,
    count,
    mean,
    nan: bits(Uint32Array, curve.nan, more.nan),
    inf: bits(Uint8Array, curve.inf, more.inf),
    piece: null,
    total: more.total,
    shown: more.total,
  }
}
