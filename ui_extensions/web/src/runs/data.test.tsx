// @vitest-environment jsdom
import { act, cleanup, renderHook } from "@testing-library/react"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"

import { DEFAULT_VIEW } from "../view/document"
import type { RunRow } from "./api"
import { useRunList } from "./data"

const END_SHOWS_MS = 5_000
const FIRST_MS = 200
const COLUMNS: string[] = []
const EXPERIMENTS = ["1"]

function runRow(ordinal: number, status: string): RunRow {
  const start = 1_000 + ordinal
  return {
    id: ordinal.toString(16).padStart(32, "0"),
    name: `run ${ordinal}`,
    experiment: "1",
    ordinal,
    user: "",
    status,
    start,
    end: status === "RUNNING" ? null : start + 1,
    stage: "active",
    cells: [],
  }
}

/** As the server answers: newest first, the rows of the first 200. */
class Answers {
  rows: RunRow[] = []
  versions: Record<string, string> = {}
  asked: string[] = []

  end(id: string, status: string): void {
    this.rows = this.rows.map((row) => (row.id === id ? { ...row, status, end: 9_000 } : row))
  }

  readonly fetch = async (url: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const body = JSON.parse(String(init?.body)) as { run_ids?: string[] }
    const path = String(url).split("/").at(-1) ?? ""
    const standing = {
      n_runs: this.rows.length,
      n_running: this.rows.filter((row) => row.status === "RUNNING").length,
      last_start_ms: Math.max(0, ...this.rows.map((row) => row.start ?? 0)),
      last_end_ms: Math.max(0, ...this.rows.map((row) => row.end ?? 0)),
    }
    this.asked.push(body.run_ids ? "rows" : path)
    if (path === "changes") {
      return Response.json({ watermark: "1.1", runs: this.versions, ...standing })
    }
    if (body.run_ids) {
      return Response.json({ rows: this.rows.filter((row) => body.run_ids?.includes(row.id)) })
    }
    const bytes = this.rows.flatMap((row) => [...(row.id.match(/../g) ?? [])])
    return Response.json({
      rows: this.rows.slice(0, 200),
      total: this.rows.length,
      matching: this.rows.length,
      digest: this.rows.map((row) => row.id).join(),
      ids: btoa(String.fromCharCode(...bytes.map((byte) => Number.parseInt(byte, 16)))),
      filter: { text: "", tree: null },
      now: Date.now(),
      standing,
    })
  }
}

let server: Answers
let hours = 0

beforeEach(() => {
  vi.useFakeTimers()
  // Long after the test before, whose answers are of no use any more.
  hours += 1
  vi.setSystemTime(1_764_000_000_000 + hours * 3_600_000)
  server = new Answers()
  vi.stubGlobal("fetch", server.fetch)
})
afterEach(() => {
  cleanup()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const pass = async (ms: number): Promise<void> => {
  await act(() => vi.advanceTimersByTimeAsync(ms))
}

async function opened() {
  const { result } = renderHook(() => useRunList(EXPERIMENTS, DEFAULT_VIEW, COLUMNS))
  await pass(FIRST_MS)
  expect(result.current.ids.count).toBe(server.rows.length)
  return result
}

describe("a list that is looked at", () => {
  it("shows a run's end, whenever it ends", async () => {
    // Before the first poll, between two, and long after.
    for (const afterMs of [0, 2_500, 120_000]) {
      const running = runRow(2, "RUNNING")
      server.rows = [running, runRow(1, "FINISHED")]
      const list = await opened()
      await pass(afterMs)
      server.end(running.id, "FAILED")
      await pass(END_SHOWS_MS)
      expect(list.current.row(running.id)?.status).toBe("FAILED")
      expect(list.current.live.isRunning).toBe(false)
      cleanup()
    }
  })

  it("shows the end of a run that is not among the rows of the answer", async () => {
    const running = runRow(1, "RUNNING")
    server.rows = [...Array.from({ length: 300 }, (_, at) => runRow(400 - at, "FINISHED")), running]
    const list = await opened()
    expect(list.current.row(running.id)?.status).toBe("RUNNING")
    server.end(running.id, "KILLED")
    await pass(END_SHOWS_MS)
    expect(list.current.row(running.id)?.status).toBe("KILLED")
  })

  it("shows a run that began just after the list was read", async () => {
    server.rows = [runRow(1, "FINISHED")]
    const list = await opened()
    server.rows = [runRow(2, "RUNNING"), ...server.rows]
    await pass(END_SHOWS_MS)
    expect(list.current.ids.count).toBe(2)
  })

  it("comes by itself once the server is there again", async () => {
    server.rows = [runRow(1, "FINISHED")]
    vi.stubGlobal("fetch", async () => Promise.reject(new TypeError("offline")))
    const { result } = renderHook(() => useRunList(EXPERIMENTS, DEFAULT_VIEW, COLUMNS))
    for (let n = 0; n < 12; n += 1) await pass(1_000)
    expect(result.current.error?.message).toBe("the server does not answer")
    expect(result.current.isFirst).toBe(true)
    vi.stubGlobal("fetch", server.fetch)
    // In pieces: what a timer asks React for is done when a piece is over.
    for (let n = 0; n < 12; n += 1) await pass(1_000)
    expect(result.current.error).toBeNull()
    expect(result.current.ids.count).toBe(1)
  })

  it("asks for the list again only where something changed, and seldom when it is quiet", async () => {
    server.rows = [runRow(1, "FINISHED")]
    server.versions = { [server.rows[0]?.id ?? ""]: "1-1-0-0" }
    await opened()
    await pass(600_000)
    expect(server.asked.filter((path) => path === "runs")).toHaveLength(1)
    const nPolls = server.asked.filter((path) => path === "changes").length
    expect(nPolls).toBeGreaterThan(15)
    expect(nPolls).toBeLessThan(30)
    server.versions = { [server.rows[0]?.id ?? ""]: "2-2-0-0" }
    await pass(60_000)
    expect(server.asked.filter((path) => path === "runs")).toHaveLength(2)
  })
})
