// @vitest-environment jsdom
import { expect, it } from "vitest"

import { captionOf, wordsOf } from "./figures"

function element(name: string, attributes: Record<string, string>, ...inside: (string | Element)[]): Element {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...inside)
  return made
}
const span = (...inside: (string | Element)[]): Element => element("span", {}, ...inside)

it("keeps apart what stands in parts of its own, and leaves out what is pressed or only seen", () => {
  const name = element("td", {}, span(element("svg", { "aria-hidden": "true" }, "●"), span("adam-s0"), span("finished")))
  expect(wordsOf(name)).toBe("adam-s0 finished")
  expect(wordsOf(element("th", {}, span("amp"), span("Params")))).toBe("amp Params")
  const cut = element("span", { class: "w-name", title: "adamw-lr0.001-s12" }, span("adamw-lr"), span("0.001-s12"))
  expect(wordsOf(element("th", {}, cut))).toBe("adamw-lr0.001-s12")
  expect(wordsOf(element("td", {}, "val/", "loss", " (min)", element("button", {}, "Sort")))).toBe("val/loss (min)")
})

it("says as of when a panel is: a file does not stay live", () => {
  const panel = (...words: string[]): Element => {
    const actions = element("span", { class: "w-panel-actions" }, element("button", {}, "Comment"))
    return element("div", {}, element("header", { class: "w-panel-head" }, span("Best live"), span(...words), actions))
  }
  const atMs = new Date(2026, 10, 27, 8, 30).getTime()
  expect(captionOf(panel("8 of 60", " runs", " · ", "live"), atMs)).toBe("Best live · 8 of 60 runs · as of 2026-11-27 08:30")
  expect(captionOf(panel("5 runs · frozen at 2026-01-01 00:00"), atMs)).toBe("Best live · 5 runs · frozen at 2026-01-01 00:00")
  expect(captionOf(element("div", {}), atMs)).toBe("")
})
