/** A report as Markdown: text escaped, panels as what they show and as the question they are. */

import type { Mark, Node } from "./document"
import { CALLOUT_WORDS, calloutOf, headingsOf } from "./document"
import type { Figure } from "./figures"
import { svgAddress } from "./figures"

export interface MarkdownParts {
  readonly title: string
  readonly about: string
  /** One for each panel, in order. */
  readonly figures: readonly Figure[]
  /** Data addresses of the pictures by their ids. */
  readonly pictures: ReadonlyMap<string, string>
}

/** Text that is text in Markdown too, wherever in a line it stands. */
export function escaped(text: string): string {
  return text
    .replace(/[\\`*_{}[\]<>|~$&]/g, (found) => `\\${found}`)
    .replace(/^(\s*)([#+-]|\d+[.)])(?=\s|$)/gm, (_, space: string, mark: string) =>
      `${space}${mark.replace(/[#+.)-]/, (one) => `\\${one}`)}`,
    )
    .replace(/\n/g, " ")
}

function fence(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length))
  return "`".repeat(longest + 1)
}

function coded(text: string): string {
  const ticks = "`".repeat(Math.max(0, ...[...text.matchAll(/`+/g)].map(([found]) => found.length)) + 1)
  const space = text.startsWith("`") || text.endsWith("`") ? " " : ""
  return `${ticks}${space}${text}${space}${ticks}`
}

/** TeX that ends no formula early and that nobody takes for markup. */
function formula(tex: unknown): string {
  return String(tex ?? "")
    .replace(/<(?=[a-z/!?])/gi, "< ")
    .replace(/((?:\\\\)*)\\?\$/g, (_, breaks: string) => `${breaks}\\$`)
}

function marked(text: string, marks: readonly Mark[]): string {
  const has = (type: string): boolean => marks.some((mark) => mark.type === type)
  const link = marks.find((mark) => mark.type === "link")
  const [, before = "", inner = "", after = ""] = /^(\s*)([^]*?)(\s*)$/.exec(text) ?? []
  if (inner === "") return text
  let found = has("code") ? coded(inner) : escaped(inner)
  if (has("bold")) found = `**${found}**`
  if (has("italic")) found = `*${found}*`
  if (has("strike")) found = `~~${found}~~`
  if (link) found = `[${found}](<${String(link.attrs?.href ?? "").replace(/[<>\s]/g, encodeURIComponent)}>)`
  return before + found + after
}

function inline(node: Node): string {
  return (node.content ?? [])
    .map((one) => {
      if (one.type === "hardBreak") return "\\\n"
      if (one.type === "math") return `$${formula(one.attrs?.tex).replace(/\s+/g, " ")}$`
      return marked(one.text ?? "", one.marks ?? [])
    })
    .join("")
}

function indented(text: string, by: string, first = by): string {
  return text
    .split("\n")
    .map((line, at) => (line === "" ? "" : (at === 0 ? first : by) + line))
    .join("\n")
}

/** What is in one cell of a table: on one line, and its strokes are no borders. */
function inCell(text: string): string {
  return text
    .replace(/\s*\n\s*/g, " ")
    .replace(/(\\*)\|/g, (found, before: string) => (before.length % 2 ? found : `${before}\\|`))
}

function rowsText(rows: readonly (readonly string[])[]): string {
  const n = Math.max(1, ...rows.map((row) => row.length))
  const line = (row: readonly string[]): string =>
    `| ${Array.from({ length: n }, (_, at) => row[at] ?? "").join(" | ")} |`
  const [head = [], ...rest] = rows
  return [line(head), `|${" --- |".repeat(n)}`, ...rest.map(line)].join("\n")
}

class Writer {
  readonly notes: string[] = []
  #nPanels = 0

  constructor(readonly parts: MarkdownParts, readonly whole: Node) {}

  blocks(nodes: readonly Node[]): string {
    return nodes.map((node) => this.block(node)).filter(Boolean).join("\n\n")
  }

  note(address: string): string {
    const name = `picture-${this.notes.length + 1}`
    this.notes.push(`[${name}]: ${address}`)
    return name
  }

  block(node: Node): string {
    const children = node.content ?? []
    const { attrs } = node
    switch (node.type) {
      case "paragraph":
        return inline(node)
      case "heading":
        return `${"#".repeat(Number(attrs?.level ?? 1) + 1)} ${inline(node)}`
      case "blockquote":
        return indented(this.blocks(children), "> ").replace(/^$/gm, ">")
      case "callout":
        return indented(`**${CALLOUT_WORDS[calloutOf(attrs?.kind)]}**\n\n${this.blocks(children)}`, "> ").replace(/^$/gm, ">")
      case "bulletList":
        return children.map((item) => indented(this.blocks(item.content ?? []), "  ", "- ")).join("\n")
      case "orderedList": {
        const start = Number(attrs?.start ?? 1)
        return children.map((item, at) => indented(this.blocks(item.content ?? []), "   ", `${start + at}. `)).join("\n")
      }
      case "taskList":
        return children
          .map((item) => indented(this.blocks(item.content ?? []), "  ", item.attrs?.checked === true ? "- [x] " : "- [ ] "))
          .join("\n")
      case "codeBlock": {
        const text = children.map((one) => one.text ?? "").join("")
        return `${fence(text)}${String(attrs?.language ?? "")}\n${text}\n${fence(text)}`
      }
      case "mathBlock":
        return `$$\n${formula(attrs?.tex)}\n$$`
      case "horizontalRule":
        return "---"
      case "contents":
        return headingsOf(this.whole)
          .map(({ level, text }) => `${"  ".repeat(level - 1)}- ${escaped(text)}`)
          .join("\n")
      case "table":
        return rowsText(
          children.map((row) =>
            (row.content ?? []).map((cell) =>
              inCell((cell.content ?? []).map((one) => this.block(one)).join(" ")),
            ),
          ),
        )
      case "image": {
        const caption = String(attrs?.caption || attrs?.alt || "")
        const address = this.parts.pictures.get(String(attrs?.image ?? ""))
        return address ? `![${escaped(caption)}][${this.note(address)}]` : `*[picture: ${escaped(caption)}]*`
      }
      case "panel":
        return this.panel(node)
      default:
        return ""
    }
  }

  panel(node: Node): string {
    const figure = this.parts.figures[this.#nPanels]
    this.#nPanels += 1
    const question = JSON.stringify(node.attrs?.panel ?? null)
    const shown: string[] = []
    if (figure) {
      if (figure.title) shown.push(`*${escaped(figure.title)}*`)
      for (const drawing of figure.drawings) shown.push(`![chart][${this.note(svgAddress(drawing))}]`)
      for (const { address, alt } of figure.pictures) shown.push(`![${escaped(alt)}][${this.note(address)}]`)
      for (const table of figure.tables) shown.push(rowsText(table.map((row) => row.map(escaped))))
      if (figure.text) shown.push(`${fence(figure.text)}\n${figure.text}\n${fence(figure.text)}`)
    }
    shown.push(`${fence(question)}weir\n${question}\n${fence(question)}`)
    return shown.join("\n\n")
  }
}

/** The whole as one file; pictures and charts are at its end. */
export function markdownOf(document: Node, parts: MarkdownParts): string {
  const writer = new Writer(parts, document)
  const body = writer.blocks(document.content ?? [])
  const notes = writer.notes.length > 0 ? `\n\n${writer.notes.join("\n")}` : ""
  return `# ${escaped(parts.title)}\n\n*${escaped(parts.about)}*\n\n${body}${notes}\n`
}
