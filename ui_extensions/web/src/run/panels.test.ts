import { describe, expect, it } from "vitest"

import { hardwareSections, hasMarkers, nodesOf } from "./panels"

const KEYS = [
  "system/cpu_utilization_percentage",
  "system/gpu_0_utilization_percentage",
  "system/gpu_0_memory_usage_megabytes",
  "system/gpu_0_memory_total_megabytes",
  "system/gpu_10_power_usage_watts",
  "system/gpu_2_power_usage_watts",
  "system/gpu_0_fan_speed_percentage",
  "system/my_own",
  "train/loss",
  "val/loss",
  "epoch",
]

describe("hardware", () => {
  it("is shown by device, limits beside what they limit", () => {
    const sections = hardwareSections(KEYS, "")
    expect(sections.map(({ title }) => title)).toEqual([
      "GPU 0",
      "GPU 2",
      "GPU 10",
      "Machine and processes",
      "GPU 0, all else",
      "More",
    ])
    expect(sections.at(-2)?.panels.map(({ title }) => title)).toEqual(["fan speed percentage"])
    const memory = sections[0]?.panels.find(({ title }) => title === "Memory")
    expect(memory?.lines.map(({ label, isLimit }) => [label, isLimit ?? false])).toEqual([
      ["all processes", false],
      ["there is", true],
    ])
  })

  it("knows the nodes", () => {
    expect(nodesOf(KEYS)).toEqual([""])
    expect(nodesOf(["system/a/cpu_utilization_percentage", "system/b/x", "loss"])).toEqual(["a", "b"])
    expect(hardwareSections(["system/a/cpu_utilization_percentage"], "a")).toHaveLength(1)
    expect(hardwareSections(["system/a/cpu_utilization_percentage"], "")).toHaveLength(0)
  })
})

describe("points", () => {
  it("are marked where few are in view, and a lone one always", () => {
    const values = [null, 3, null, undefined, 4, ...Array.from({ length: 100 }, () => 5)]
    expect(hasMarkers(values, 0, 3, false)).toBe(true)
    expect(hasMarkers(values, 0, 3, true)).toBe(true)
    expect(hasMarkers(values, 0, 4, true)).toBe(false)
    expect(hasMarkers(values, 0, 62, false)).toBe(true)
    expect(hasMarkers(values, 0, 63, false)).toBe(false)
    expect(hasMarkers(values, 2, 3, false)).toBe(false)
  })
})
