/** The answers of published pages, by the names of the server's. */

import { ApiError } from "../api/error"
import type { ConsoleAnswer, ConsoleLine, ConsoleSource } from "../run/console-lines"
import type { ComparedRun } from "../runs/comparison"
import { jsonOf, bytesOf } from "./data"
import { answerGroups } from "./groups"
import { answerRuns } from "./run-list"
import { momentOf, publishedSet, rowsOf, setAt } from "./set"

type Body = Record<string, unknown>

/** A run's piece: the server's answers about it, and the names of further pieces. */
interface RunPiece {
  readonly run: unknown
  readonly compared: ComparedRun
  readonly code?: unknown
  readonly media?: unknown
  /** By folder. */
  readonly folders?: Readonly<Record<string, unknown>>
  /** By path: the piece, its type; no piece where the file was too large to be published. */
  readonly contents?: Readonly<Record<string, readonly [name: string | null, type: string]>>
  readonly console?: {
    readonly sources: readonly ConsoleSource[]
    /** By source: the pieces of its lines, each beginning with line `first`, in order. */
    readonly lines: Readonly<Record<string, readonly (readonly [first: number, name: string])[]>>
  }
  readonly histograms?: Readonly<Record<string, { readonly norms: unknown; readonly keys: Readonly<Record<string, string>> }>>
}

async function pieceOf(runId: unknown): Promise<RunPiece> {
  const { runs } = await publishedSet()
  const name = typeof runId === "string" && Object.hasOwn(runs, runId) ? runs[runId] : undefined
  if (name === undefined) throw new ApiError(404, "that run is not on this page")
  return jsonOf<RunPiece>(name)
}

function there<T>(found: T | undefined): T {
  if (found === undefined) throw new ApiError(404, "this page does not show that")
  return found
}

function own<T>(of: Readonly<Record<string, T>> | undefined, name: string): T {
  return there(of !== undefined && Object.hasOwn(of, name) ? of[name] : undefined)
}

export const ANSWERS: Readonly<Record<string, (body: Body) => Promise<unknown>>> = {
  share: async () => (await publishedSet()).share,
  runs: async (body) => answerRuns(setAt(await publishedSet(), body.at), body),
  groups: async (body) => answerGroups(setAt(await publishedSet(), body.at), body),
  columns: async () => (await publishedSet()).columns,
  keys: async (body) => answerKeys(body),
  "runs/compare": async ({ run_ids, at }) => {
    const then = momentOf(await publishedSet(), at)?.compared ?? {}
    const compared = async (id: string): Promise<ComparedRun> =>
      Object.hasOwn(then, id) ? jsonOf<ComparedRun>(then[id] ?? "") : (await pieceOf(id)).compared
    return { runs: await Promise.all((run_ids as string[]).map(compared)) }
  },
  changes: async ({ runs }) => {
    const { rows, share, standing } = await publishedSet()
    const named = new Set(runs as string[] | undefined)
    const found = rows.filter((row) => named.has(row.id))
    return {
      watermark: "0.0",
      at_ms: share.as_of_ms,
      runs: Object.fromEntries(found.map(({ id }) => [id, "published"])),
      statuses: Object.fromEntries(found.map(({ id, status, end }) => [id, [status, end]])),
      ...standing,
    }
  },
  run: async ({ run_id }) => (await pieceOf(run_id)).run,
  code: async ({ run_id }) => there((await pieceOf(run_id)).code),
  media: async ({ run_id }) => there((await pieceOf(run_id)).media),
  files: async ({ run_id, path }) => {
    return own((await pieceOf(run_id)).folders, typeof path === "string" ? path : "")
  },
  console: answerConsole,
  histograms: async ({ run_id, kind, key }) => {
    const found = own((await pieceOf(run_id)).histograms, String(kind))
    return typeof key === "string" ? jsonOf(own(found.keys, key)) : found.norms
  },
}

async function answerKeys({ runs: named, experiments }: Body): Promise<unknown> {
  const set = await publishedSet()
  const isNamed = Array.isArray(named) && named.length > 0
  if (!isNamed && set.panels === undefined) return set.keys
  const runs = isNamed ? named : rowsOf(set, experiments).map((row) => row.id)
  const counts = new Map<string, number>()
  for (const id of runs) {
    for (const { key } of (await pieceOf(id)).compared.metrics) counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  const found = [...counts].sort(([a], [b]) => (a < b ? -1 : 1))
  return { keys: found.map(([key, n_runs]) => ({ key, n_runs })), n_runs: runs.length, is_partial: false }
}

/** Answer `POST reports/image`. @throws ApiError where there is no such picture. */
export async function pictureOf({ image }: Body): Promise<Blob> {
  const [name, type] = own((await publishedSet()).images, String(image))
  return new Blob([await bytesOf(name)], { type })
}

/** Answer `POST file`. @throws ApiError where the file was not published. */
export async function fileOf({ run_id, path, most }: Body): Promise<Blob> {
  const [name, type] = own((await pieceOf(run_id)).contents, String(path))
  if (name === null) throw new ApiError(413, "it was too large to be published")
  const bytes = await bytesOf(name)
  return new Blob([typeof most === "number" ? bytes.slice(0, most) : bytes], { type })
}

async function answerConsole({ run_id, source, first, n, search, since }: Body): Promise<ConsoleAnswer> {
  const console = there((await pieceOf(run_id)).console)
  const chosen = typeof source === "string" ? console.sources.find((one) => one.source === source) : console.sources[0]
  const nothing: ConsoleAnswer = { sources: [...console.sources], source: null, lines: [], total: 0, dropped: 0, seq: 0 }
  if (chosen === undefined) {
    if (typeof source === "string") throw new ApiError(404, "the run has no such source")
    return nothing
  }
  const pieces = own(console.lines, chosen.source)
  const most = typeof n === "number" ? n : 1_000
  const at = typeof first === "number" ? first : typeof search === "string" ? 0 : -most
  const from = at < 0 ? Math.max(0, chosen.n_lines + at) : at
  const wanted = typeof search === "string" ? search.toLowerCase() : null
  const lines: ConsoleLine[] = []
  for (const [place, [, name]] of pieces.entries()) {
    if (typeof since === "number") break // nothing is ever new
    const next = pieces[place + 1]
    if (next !== undefined && next[0] <= from) continue
    if (lines.length >= most || (wanted === null && (pieces[place]?.[0] ?? 0) >= from + most)) break
    for (const line of await jsonOf<ConsoleLine[]>(name)) {
      const isIn = wanted === null ? line.n < from + most : line.text.toLowerCase().includes(wanted)
      if (line.n >= from && isIn && lines.length < most) lines.push(line)
    }
  }
  const dropped = chosen.cut === null ? 0 : chosen.cut[1] - chosen.cut[0]
  return { ...nothing, source: chosen.source, lines, total: chosen.n_lines, dropped }
}
