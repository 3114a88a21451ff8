// @vitest-environment jsdom
import { describe, expect, it } from "vitest"

import { frameOf } from "./embedding"

describe("a frame", () => {
  it("is text that holds whatever a title says", () => {
    const html = frameOf("https://weir.example/weir/s/abc?x=1&y", '"><script>alert(1)</script>\u202e')
    const made = new DOMParser().parseFromString(html, "text/html")
    expect(made.body.children).toHaveLength(1)
    expect(made.querySelector("iframe")?.getAttribute("src")).toBe("https://weir.example/weir/s/abc?x=1&y")
    expect(made.querySelector("iframe")?.title).toContain("<script>alert(1)</script>\\u{202e}")
  })
})
