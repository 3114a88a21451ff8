import { describe, expect, it } from "vitest"

import { cssColour, parseAnsi, TRUE_COLOUR, withoutAnsi } from "./ansi"

const texts = (line: string): string[] => parseAnsi(line).map((span) => span.text)

describe("terminal colours", () => {
  it("become spans", () => {
    const [red, rest] = parseAnsi("\u001b[1;31mERROR\u001b[0m done")
    expect(red).toMatchObject({ text: "ERROR", style: { fg: 1, isBold: true } })
    expect(rest).toMatchObject({ text: " done", style: { fg: null, isBold: false } })
  })

  it("know the palette and true colour, with ; and :", () => {
    expect(parseAnsi("\u001b[38;5;208mx")[0]?.style.fg).toBe(208)
    expect(parseAnsi("\u001b[48;2;1;2;3mx")[0]?.style.bg).toBe(TRUE_COLOUR + 0x010203)
    expect(parseAnsi("\u001b[38:5:9mx")[0]?.style.fg).toBe(9)
    expect(cssColour(208)).toBe("rgb(255, 135, 0)")
    expect(cssColour(TRUE_COLOUR + 0xff)).toBe("#0000ff")
    expect(cssColour(3)).toBeNull()
  })

  it("ignore numbers no terminal has", () => {
    expect(parseAnsi("\u001b[38;5;999mx")[0]?.style.fg).toBeNull()
    expect(parseAnsi("\u001b[38;2;1mx")[0]?.style.fg).toBeNull()
    expect(parseAnsi("\u001b[999999999999999mx")[0]?.text).toBe("x")
  })

  it.each([
    ["\u001b]8;;https://evil.example\u0007click\u001b]8;;\u0007", "click"],
    ["a\u001b[2Jb\u001b[10;10Hc\u001b[?25l", "abc"],
    ["\u001b]0;title\u001b\\text", "text"],
    ["\u001bPq#0;2;0;0;0\u001b\\x", "x"],
    ["cut \u001b[3", "cut "],
    ["cut \u001b]8;;http", "cut "],
  ])("drop what is no colour: %j", (line, expected) => {
    expect(texts(line).join("")).toBe(expected)
    expect(withoutAnsi(line)).toBe(expected)
  })

  it("take a line of nothing but escapes in no time", () => {
    const line = "\u001b[31m".repeat(20_000) + "\u001b]".repeat(20_000)
    const start = performance.now()
    parseAnsi(line)
    expect(performance.now() - start).toBeLessThan(1_000)
  })
})
