import { describe, expect, it } from "vitest"

import { safeLink, visible } from "./visible"

describe("visible text", () => {
  it("shows what would turn the line around", () => {
    expect(visible("a\u202egpj.exe")).toBe("a\\u{202e}gpj.exe")
    expect(visible("zero\u200bwidth\u0000\u001b[31m")).toBe("zero\\u{200b}width\\u{0}\\u{1b}[31m")
  })

  it("keeps scripts, emoji and tabs as they are", () => {
    for (const text of ["学习率", "مرحبا", "naïve", "👩‍🔬".replace("\u200d", ""), "a\tb\nc"]) {
      expect(visible(text)).toBe(text)
    }
  })

  it("cuts before layout, and shows half a pair", () => {
    expect(visible("x".repeat(2_000), 250)).toHaveLength(251)
    expect(visible("\ud83d")).toBe("\\u{d83d}")
  })
})

describe("links", () => {
  it.each(["javascript:alert(1)", "data:text/html,x", "//x", "vbscript:x", "https://u:p@x.org/"])(
    "%s is none",
    (address) => {
      expect(safeLink(address)).toBeNull()
    },
  )

  it("lets http, https and mail through", () => {
    expect(safeLink("https://example.org/a?b")).toBe("https://example.org/a?b")
    expect(safeLink("mailto:a@example.org")).toBe("mailto:a@example.org")
  })
})
