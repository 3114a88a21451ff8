/** What `POST histograms` says, as typed arrays. */

import { call } from "../api/client"

export type WatchedKind = "gradients" | "parameters"

export interface Norms {
  keys: string[]
  steps: number[]
  /** keys × steps, row by row; NaN where there is none. */
  norms: Float32Array
  bad: Uint32Array
}

export interface Histograms {
  steps: number[]
  norms: Float32Array
  first: Float32Array
  last: Float32Array
  nan: Uint32Array
  inf: Uint32Array
  /** steps × 64, row by row. */
  counts: Uint32Array
}

export const BINS = 64

function decode(text: string): ArrayBuffer {
  const binary = atob(text)
  const content = new Uint8Array(binary.length)
  for (let at = 0; at < binary.length; at += 1) content[at] = binary.charCodeAt(at)
  return content.buffer
}

const floats = (text: string): Float32Array => new Float32Array(decode(text))
const wholes = (text: string): Uint32Array => new Uint32Array(decode(text))

interface NormsAnswer {
  keys: string[]
  steps: number[]
  norms: string
  bad: string
}

export async function readNorms(
  runId: string,
  kind: WatchedKind,
  options: { signal?: AbortSignal },
): Promise<Norms> {
  const answer = await call<NormsAnswer>("histograms", { run_id: runId, kind }, options)
  return { ...answer, norms: floats(answer.norms), bad: wholes(answer.bad) }
}

interface SeriesAnswer {
  steps: number[]
  norms: string
  first: string
  last: string
  nan: string
  inf: string
  counts: string
}

export async function readHistograms(
  runId: string,
  kind: WatchedKind,
  key: string,
  options: { signal?: AbortSignal },
): Promise<Histograms> {
  const answer = await call<SeriesAnswer>("histograms", { run_id: runId, kind, key }, options)
  return {
    steps: answer.steps,
    norms: floats(answer.norms),
    first: floats(answer.first),
    last: floats(answer.last),
    nan: wholes(answer.nan),
    inf: wholes(answer.inf),
    counts: wholes(answer.counts),
  }
}

/** A place between the ends of a scale: 0 to 1, by magnitude; null for what has none. */
export function logShare(value: number, low: number, high: number): number | null {
  if (!Number.isFinite(value) || value <= 0) return null
  if (high <= low) return 0.5
  const share = (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low))
  return Math.max(0, Math.min(1, share))
}

/** The smallest and largest positive number; null where there is none. */
export function positiveRange(values: Iterable<number>): [number, number] | null {
  let low = Number.POSITIVE_INFINITY
  let high = 0
  for (const value of values) {
    if (!(value > 0) || !Number.isFinite(value)) continue
    if (value < low) low = value
    if (value > high) high = value
  }
  return high > 0 ? [low, high] : null
}
