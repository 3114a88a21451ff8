/**
 * What the editor holds, as the server takes it: nodes and fields that are listed there, and no
 * other that an extension of the editor keeps beside them.
 */

import type { Mark, Node } from "./document"

const NODES: Readonly<Record<string, readonly string[]>> = {
  doc: [],
  paragraph: [],
  heading: ["level"],
  blockquote: [],
  bulletList: [],
  orderedList: ["start"],
  listItem: [],
  taskList: [],
  taskItem: ["checked"],
  codeBlock: ["language"],
  mathBlock: ["tex"],
  callout: ["kind"],
  table: [],
  tableRow: [],
  tableCell: ["colspan", "rowspan", "colwidth"],
  tableHeader: ["colspan", "rowspan", "colwidth"],
  horizontalRule: [],
  contents: [],
  image: ["image", "alt", "caption", "width"],
  panel: ["panel"],
  text: [],
  hardBreak: [],
  math: ["tex"],
}
const MARKS: Readonly<Record<string, readonly string[]>> = {
  bold: [],
  italic: [],
  strike: [],
  underline: [],
  code: [],
  link: ["href"],
}

function attributes(given: Node["attrs"], names: readonly string[]): Record<string, unknown> | undefined {
  const found = Object.entries(given ?? {}).filter(
    ([name, value]) => names.includes(name) && value !== null && value !== undefined,
  )
  return found.length > 0 ? Object.fromEntries(found) : undefined
}

function cleanMark(mark: Mark): Mark | null {
  const names = MARKS[mark.type]
  if (names === undefined) return null
  const attrs = attributes(mark.attrs, names)
  return { type: mark.type, ...(attrs && { attrs }) }
}

/** The same tree without what the server does not know. */
export function clean(node: Node): Node {
  const attrs = attributes(node.attrs, NODES[node.type] ?? [])
  const marks = (node.marks ?? []).flatMap((mark) => cleanMark(mark) ?? [])
  const content = (node.content ?? []).filter((one) => NODES[one.type] !== undefined).map(clean)
  return {
    type: node.type,
    ...(attrs && { attrs }),
    ...(node.text !== undefined && { text: node.text }),
    ...(marks.length > 0 && { marks }),
    ...(content.length > 0 && { content }),
  }
}
