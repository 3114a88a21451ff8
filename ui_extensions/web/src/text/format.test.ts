import { describe, expect, it } from "vitest"

import { ago, bytes, dateTime, duration, number } from "./format"

describe("numbers", () => {
  it.each([
    [0, "0"],
    [0.1 + 0.2, "0.3"],
    [1e-7, "1e-7"],
    [123456.789, "123,457"],
    [-1234.5678, "-1,234.57"],
    [999.99951, "1,000"],
    [1234567, "1,234,567"],
    [Number.NaN, "NaN"],
    [1.7976931348623157e308, "∞"],
    [Number.NEGATIVE_INFINITY, "−∞"],
    [-1.5e-9, "-1.5e-9"],
    [null, "–"],
  ])("%s reads %s", (value, text) => {
    expect(number(value)).toBe(text)
  })
})

describe("sizes and times", () => {
  it("keeps to powers of 1,024", () => {
    expect(bytes(1023)).toBe("1023 B")
    expect(bytes(1536)).toBe("1.5 KiB")
    expect(bytes(64 * 2 ** 30)).toBe("64.0 GiB")
  })

  it("says durations in two units at most", () => {
    expect(duration(59_940)).toBe("60 s")
    expect(duration(185_000)).toBe("3 m 05 s")
    expect(duration(90_000_000)).toBe("1 d 1 h")
    expect(duration(-1)).toBe("–")
  })

  it("does not throw on times no calendar has", () => {
    expect(dateTime(9e18)).toBe("–")
    expect(ago(1_000, 8_000)).toBe("7 s ago")
  })
})
