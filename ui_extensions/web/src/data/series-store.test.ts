// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"

import { AGAIN_MS } from "../api/error"
import { encoded } from "./encoded-parts"
import type { Query } from "./series-store"
import { SeriesStore } from "./series-store"

const RUNS = ["a", "b"]
const MS = 100
const TURNS = 50

/** As the server answers: a line of two buckets for each run, with the number of the request in it. */
class Server {
  asked: { runs: string[]; parts: { key: string; from?: number[] }[]; at?: number; want: string[] }[] = []
  /** Called before an answer goes out. */
  onAsk = async (): Promise<void> => undefined

  readonly fetch = async (_: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const body = JSON.parse(String(init?.body))
    this.asked.push(body)
    const n = this.asked.length
    await this.onAsk()
    const parts = body.parts.map(({ key }: { key: string }) =>
      encoded({ key, kind: "lines", level: 3, n_points: 1, most_points: 1, most_buckets: 1 }, [
        ["run", "u32", body.runs.map((__: string, at: number) => at)],
        ["start", "u32", [0, ...body.runs.map((__: string, at: number) => 2 * at + 2)]],
        ["total", "f64", body.runs.map(() => 2)],
        ["whole", "u8", body.runs.map(() => 1)],
        ["offset", "f64", body.runs.map(() => 0)],
        ["x", "f64", body.runs.flatMap(() => [1, 2])],
        ["low", "f32", body.runs.flatMap(() => [n, n])],
        ["high", "f32", body.runs.flatMap(() => [n, n])],
        ["last", "f32", body.runs.flatMap(() => [n, n])],
        ["count", "u32", body.runs.flatMap(() => [1, 1])],
      ]),
    )
    const bytes = [...new TextEncoder().encode("WS01"), ...parts.flatMap((part: Uint8Array) => [...part])]
    return new Response(Uint8Array.from(bytes))
  }
}

let server: Server
let store: SeriesStore

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
  server = new Server()
  store = new SeriesStore()
  vi.stubGlobal("fetch", server.fetch)
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

function query(more: Partial<Query> = {}): Query {
  const base = { key: "loss", x: "step", buckets: 64, range: null, withMean: false } as const
  return { ...base, runIds: RUNS, grouping: null, asOf: null, ...more }
}

const pass = async (): Promise<void> => {
  await vi.advanceTimersByTimeAsync(MS)
  // The answer is read as a stream, turn by turn.
  for (let turn = 0; turn < TURNS; turn += 1) await new Promise((done) => setImmediate(done))
}
const asks = (): string[][] => server.asked.map((body) => body.runs)

describe("series that are kept", () => {
  it("ask nothing when they are shown again, and after news for the runs alone that have some", async () => {
    const first = store.watch(query(), () => undefined)
    await pass()
    first.stop()
    store.watch(query(), () => undefined).stop()
    await pass()
    expect(asks()).toEqual([RUNS])
    store.refresh(["b"])
    await pass()
    expect(asks()).toEqual([RUNS])
    const { series } = store.watch(query(), () => undefined)
    await pass()
    expect(asks()).toEqual([RUNS, ["b"]])
    expect([series.curves.get("a")?.last[0], series.curves.get("b")?.last[0]]).toEqual([1, 2])
  })

  it("ask again where news came while an answer was under way", async () => {
    server.onAsk = async () => {
      if (server.asked.length === 1) store.refresh(["b"])
    }
    store.watch(query(), () => undefined)
    await pass()
    await pass()
    expect(asks()).toEqual([RUNS, ["b"]])
    expect(server.asked[1]?.parts[0]?.from).toEqual([2])
  })

  it("are as they were where news could not be had, and go on with the next", async () => {
    store.watch(query(), () => undefined)
    await pass()
    server.onAsk = async () => {
      if (server.asked.length === 2) throw new TypeError("Failed to fetch")
    }
    store.refresh(["a"])
    await pass()
    const { series } = store.watch(query(), () => undefined)
    await pass()
    expect(asks()).toEqual([RUNS, ["a"]])
    expect([series.error?.message, series.curves.get("a")?.last[0]]).toEqual(["the server does not answer", 1])
    store.refresh(["b"])
    await pass()
    expect(asks()).toEqual([RUNS, ["a"], RUNS])
    expect(server.asked[2]?.parts[0]?.from).toEqual([2, 2])
    expect([series.error, series.curves.get("a")?.last[0]]).toEqual([null, 3])
  })

  it("come by themselves once the server is there again", async () => {
    server.onAsk = async () => {
      if (server.asked.length < 3) throw new TypeError("Failed to fetch")
    }
    const { series } = store.watch(query(), () => undefined)
    await pass()
    expect([series.error?.message, asks().length]).toEqual(["the server does not answer", 1])
    for (const n of [2, 3]) {
      await vi.advanceTimersByTimeAsync(AGAIN_MS)
      await pass()
      expect(asks()).toHaveLength(n)
    }
    expect([series.error, series.curves.size]).toEqual([null, 2])
    await vi.advanceTimersByTimeAsync(4 * AGAIN_MS)
    expect(asks()).toHaveLength(3)
  })

  it("go on from what they have while they are shown", async () => {
    store.watch(query(), () => undefined)
    await pass()
    store.refresh(["a"])
    await pass()
    expect(asks()).toEqual([RUNS, ["a"]])
    expect(server.asked[1]?.parts[0]?.from).toEqual([2])
  })

  it("catch up where nobody listened for news, but for runs that had ended before", async () => {
    store.watch(query(), () => undefined).stop()
    store.watch(query(), () => undefined)
    await pass()
    const now = Date.now()
    const runs = [{ id: "a", endMs: now - 3_600_000 }, { id: "b", endMs: now + 1 }]
    store.catchUp(runs, now - 1_000_000)
    await pass()
    expect(asks()).toEqual([RUNS])
    store.catchUp(runs, now + 1_000)
    await pass()
    expect(asks()).toEqual([RUNS, ["b"]])
  })

  it("stay what they are where they are frozen, and are no others' then", async () => {
    store.watch(query({ asOf: 77 }), () => undefined)
    await pass()
    store.refresh(RUNS)
    await pass()
    expect(server.asked.map((body) => body.at)).toEqual([77])
    store.watch(query(), () => undefined)
    await pass()
    expect(server.asked.map((body) => body.at)).toEqual([77, undefined])
  })

  it("with means serve what needs none", async () => {
    store.watch(query({ withMean: true }), () => undefined)
    await pass()
    store.watch(query(), () => undefined)
    await pass()
    expect(server.asked.map((body) => body.want)).toEqual([["mean", "count"]])
  })
})
