import { expect, it } from "vitest"

import type { Node } from "./document"
import { markdownOf } from "./markdown"

const HOSTILE = '<img src=x onerror="wasRun=1">'
const text = (words: string, ...marks: string[]): Node =>
  ({ type: "text", text: words, marks: marks.map((type) => ({ type })) }) as Node
const block = (type: string, content: Node[] = [], attrs = {}): Node => ({ type, attrs, content }) as Node
const paragraph = (...content: Node[]): Node => block("paragraph", content)
const parts = { title: HOSTILE, about: "by ada", figures: [], pictures: new Map<string, string>() }

function written(...content: Node[]): string {
  return markdownOf(block("doc", content), parts)
}

it("writes every block as Markdown has it", () => {
  const item = (words: string, attrs = {}): Node => block("listItem", [paragraph(text(words))], attrs)
  const found = written(
    block("heading", [text("One")], { level: 1 }),
    block("contents"),
    paragraph(text("bold", "bold"), text(" and "), text("code", "code")),
    block("orderedList", [item("first"), item("second")], { start: 3 }),
    block("taskList", [item("done", { checked: true }), item("to do")]),
    block("blockquote", [paragraph(text("said"))]),
    block("callout", [paragraph(text("mind it"))], { kind: "tip" }),
    block("codeBlock", [text("a\n```\nb")], { language: "py" }),
    block("mathBlock", [], { tex: "x^2" }),
    block("table", [
      block("tableRow", [block("tableHeader", [paragraph(text("a|b"))]), block("tableHeader", [paragraph(text("c|d", "code"))])]),
      block("tableRow", [block("tableCell", [paragraph(text("1")), paragraph(text("2"))]), block("tableCell")]),
    ]),
    block("horizontalRule"),
  )
  for (const one of [
    "## One\n\n- One\n",
    "**bold** and `code`",
    "3. first\n4. second",
    "- [x] done\n- [ ] to do",
    "> said",
    "> **Tip**\n>\n> mind it",
    "````py\na\n```\nb\n````",
    "$$\nx^2\n$$",
    "| a\\|b | `c\\|d` |\n| --- | --- |\n| 1 2 |  |",
    "\n---\n",
  ]) {
    expect(found).toContain(one)
  }
})

it("leaves words words: no markup outside of code, and no formula that ends early", () => {
  const found = written(
    paragraph(text(HOSTILE), { type: "math", attrs: { tex: `a$ ${HOSTILE}` } } as Node),
    block("heading", [text(HOSTILE)], { level: 1 }),
    block("contents"),
    block("mathBlock", [], { tex: `b\n$$\n${HOSTILE}\\\\$ \\$` }),
    block("image", [], { image: "none", alt: HOSTILE, caption: HOSTILE }),
    block("table", [block("tableRow", [block("tableCell", [paragraph(text(HOSTILE))])])]),
  )
  expect(found).not.toMatch(/(^|[^\\])<[a-z/!?]/im)
  expect(found).toContain("$a\\$ < img")
  expect(found).toContain("b\n\\$\\$\n< img")
  expect(found).toContain('onerror="wasRun=1">\\\\\\$ \\$\n$$')
})
