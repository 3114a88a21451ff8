import { beforeEach, describe, expect, it, vi } from "vitest"

import type { Channel, ChangesMessage, ChangesQuestion } from "./shared-changes"
import { covers, SharedChanges } from "./shared-changes"

const QUESTION: ChangesQuestion = { experiments: ["1"], runs: [], since: "5.5" }

/** Tabs of one browser, and the server that they ask. */
function browser(nTabs: number, delayMs = 20) {
  const listeners: ((message: ChangesMessage) => void)[][] = []
  const asked: ChangesQuestion[] = []
  let isAway = false
  const tabs = Array.from({ length: nTabs }, (_, tab) => {
    const own: ((message: ChangesMessage) => void)[] = []
    listeners.push(own)
    const channel: Channel = {
      // As a BroadcastChannel does: to all others, and not at once.
      post: (message) => {
        const others = listeners.filter((_, at) => at !== tab).flat()
        setTimeout(() => others.forEach((heard) => heard(message)), 1)
      },
      listen: (heard) => own.push(heard),
    }
    const ask = async (question: ChangesQuestion): Promise<{ watermark: string }> => {
      asked.push(question)
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      if (isAway) throw new Error("away")
      return { watermark: `${5 + asked.length}.9` }
    }
    return new SharedChanges(channel, ask, () => Date.now())
  })
  return { tabs, asked, goAway: (is: boolean) => (isAway = is) }
}

beforeEach(() => {
  vi.useFakeTimers()
  return () => vi.useRealTimers()
})

describe("changes that many tabs ask for", () => {
  it("are asked for once each time", async () => {
    const { tabs, asked } = browser(10)
    const since = tabs.map((): string => "5.5")
    for (let round = 1; round <= 4; round += 1) {
      const answers: Promise<void>[] = []
      for (const [at, tab] of tabs.entries()) {
        const question = { ...QUESTION, since: since[at] ?? null }
        answers.push(
          tab.ask(question).then((answer) => {
            since[at] = answer.watermark
          }),
        )
        // Each at a moment of its own, as tabs opened one after the other poll.
        await vi.advanceTimersByTimeAsync(150)
      }
      await vi.advanceTimersByTimeAsync(2_000)
      await Promise.all(answers)
      expect(asked.length).toBe(round)
      expect(new Set(since).size).toBe(1)
    }
  })

  it("are waited for where another tab is asking", async () => {
    const { tabs, asked } = browser(2, 3_000)
    const [one, other] = tabs as [SharedChanges, SharedChanges]
    const first = one.ask(QUESTION)
    await vi.advanceTimersByTimeAsync(10)
    const second = other.ask(QUESTION)
    await vi.advanceTimersByTimeAsync(3_010)
    expect(await second).toEqual(await first)
    expect(asked.length).toBe(1)
  })

  it("are asked for by the other tab where the first one fails, closes or sleeps", async () => {
    const { tabs, asked, goAway } = browser(2)
    const [one, other] = tabs as [SharedChanges, SharedChanges]
    goAway(true)
    const failed = one.ask(QUESTION).catch(() => "failed")
    await vi.advanceTimersByTimeAsync(5)
    const second = other.ask(QUESTION)
    goAway(false)
    const both = Promise.all([failed, second])
    goAway(true)
    await vi.advanceTimersByTimeAsync(16)
    goAway(false)
    await vi.advanceTimersByTimeAsync(100)
    expect(await both).toEqual(["failed", { watermark: "7.9" }])
    expect(asked.length).toBe(2)
    // Nobody says that it has closed: the patience ends.
    const closed = browser(2, 1_000_000)
    void closed.tabs[0]?.ask(QUESTION)
    await vi.advanceTimersByTimeAsync(5)
    void closed.tabs[1]?.ask(QUESTION)
    await vi.advanceTimersByTimeAsync(9_000)
    expect(closed.asked.length).toBe(1)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(closed.asked.length).toBe(2)
  })

  it("are not taken late, nor by who wants more", async () => {
    const { tabs, asked } = browser(2)
    const [one, other] = tabs as [SharedChanges, SharedChanges]
    void one.ask(QUESTION)
    await vi.advanceTimersByTimeAsync(30)
    void other.ask({ ...QUESTION, since: "4.9" })
    await vi.advanceTimersByTimeAsync(30)
    expect(asked.length).toBe(2)
    await vi.advanceTimersByTimeAsync(2_000)
    void other.ask(QUESTION)
    await vi.advanceTimersByTimeAsync(30)
    expect(asked.length).toBe(3)
  })

  it("cover a question that is no wider", () => {
    const wide = { experiments: ["1", "2"], runs: ["a", "b"], since: "3.4" }
    expect(covers(wide, { ...wide, runs: ["b"], since: "3.5" })).toBe(true)
    expect(covers(wide, { ...wide, since: null })).toBe(true)
    expect(covers(wide, { ...wide, since: "3.3" })).toBe(false)
    expect(covers(wide, { ...wide, since: "2.9" })).toBe(false)
    expect(covers(wide, { ...wide, runs: ["c"] })).toBe(false)
    expect(covers(wide, { ...wide, experiments: ["1"] })).toBe(false)
    expect(covers({ ...wide, since: null }, wide)).toBe(false)
  })
})
