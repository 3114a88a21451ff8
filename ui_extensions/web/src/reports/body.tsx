/** A report as it is read: every node becomes an element of ours, text stays text. */

import "./reports.css"

import type { ReactNode } from "react"
import { createContext, useContext, useMemo } from "react"

import { Icon } from "../controls/icon"
import { ForeignLink } from "../layout/link"
import { visible } from "../text/visible"
import type { Heading, Mark, Node } from "./document"
import { calloutOf, CALLOUT_WORDS, headingsOf, panelOf } from "./document"
import { Formula } from "./math"
import { PanelView } from "./panel"
import { Picture } from "./pictures"
import { panelNames, PanelNames, RemarkButton } from "./remarks"

const Headings = createContext<readonly Heading[]>([])

export function headingId(at: number): string {
  return `w-h-${at}`
}

/** Bring a heading into view, without touching the URL. */
export function showHeading(at: number): void {
  const heading = document.getElementById(headingId(at))
  heading?.scrollIntoView({ block: "start" })
  heading?.focus({ preventScroll: true })
}

export function ReportBody({ document }: { document: Node }) {
  const headings = useMemo(() => headingsOf(document), [document])
  const names = useMemo(() => panelNames(document), [document])
  return (
    <Headings.Provider value={headings}>
      <PanelNames value={names}>
        <div className="w-report-body">{children(document)}</div>
      </PanelNames>
    </Headings.Provider>
  )
}

/** The headings as links; nothing where there are none. */
export function Contents({ headings, label }: { headings: readonly Heading[]; label: string }) {
  if (headings.length === 0) return null
  return (
    <nav className="w-report-contents" aria-label={label}>
      <ul>
        {headings.map((heading, at) => (
          <li key={at} className={`w-report-level-${heading.level}`}>
            <a
              href={`#${headingId(at)}`}
              onClick={(event) => {
                // By hand: the fragment of the URL is not ours to change in a frame.
                event.preventDefault()
                showHeading(at)
              }}
            >
              {visible(heading.text, 250) || "…"}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  )
}

function children(node: Node): ReactNode {
  return (node.content ?? []).map((child, at) => <Block key={at} node={child} />)
}

function whole(value: unknown, otherwise: number): number {
  return typeof value === "number" && Number.isInteger(value) ? value : otherwise
}

function Block({ node }: { node: Node }): ReactNode {
  const { attrs } = node
  switch (node.type) {
    case "paragraph":
      return <p dir="auto">{inlines(node)}</p>
    case "heading":
      return <HeadingLine node={node} />
    case "blockquote":
      return <blockquote>{children(node)}</blockquote>
    case "bulletList":
      return <ul>{children(node)}</ul>
    case "orderedList":
      return <ol start={whole(attrs?.start, 1)}>{children(node)}</ol>
    case "listItem":
      return <li>{children(node)}</li>
    case "taskList":
      return <ul className="w-report-tasks">{children(node)}</ul>
    case "taskItem": {
      const isDone = attrs?.checked === true
      return (
        <li data-checked={isDone}>
          <span role="img" aria-label={isDone ? "Done" : "To do"}>
            {isDone ? "☑" : "☐"}
          </span>
          <div>{children(node)}</div>
        </li>
      )
    }
    case "codeBlock":
      return (
        <pre tabIndex={0} aria-label={`Code${attrs?.language ? `: ${visible(String(attrs.language), 40)}` : ""}`}>
          <code>{(node.content ?? []).map((one) => one.text ?? "").join("")}</code>
        </pre>
      )
    case "mathBlock":
      return (
        <div className="w-report-math" tabIndex={0} role="group" aria-label="Formula">
          <Formula tex={String(attrs?.tex ?? "")} isBlock />
        </div>
      )
    case "callout": {
      const kind = calloutOf(attrs?.kind)
      return (
        <aside className={`w-callout w-callout-${kind}`} aria-label={CALLOUT_WORDS[kind]}>
          <Icon name={kind === "note" ? "pin" : kind === "tip" ? "check" : "warning"} />
          <div>{children(node)}</div>
        </aside>
      )
    }
    case "table":
      return (
        <div className="w-report-table" tabIndex={0} role="group" aria-label="Table">
          <table>
            <tbody>{children(node)}</tbody>
          </table>
        </div>
      )
    case "tableRow":
      return <tr>{children(node)}</tr>
    case "tableCell":
    case "tableHeader": {
      const Cell = node.type === "tableCell" ? "td" : "th"
      return (
        <Cell colSpan={whole(attrs?.colspan, 1)} rowSpan={whole(attrs?.rowspan, 1)}>
          {children(node)}
        </Cell>
      )
    }
    case "horizontalRule":
      return <hr />
    case "contents":
      return <AllHeadings />
    case "image":
      return (
        <Picture
          image={String(attrs?.image ?? "")}
          alt={String(attrs?.alt ?? "")}
          caption={String(attrs?.caption ?? "")}
          width={typeof attrs?.width === "number" ? attrs.width : null}
        />
      )
    case "panel": {
      const panel = panelOf(node)
      return panel === null ? <Unknown node={node} /> : <PanelView panel={panel} actions={<RemarkButton panel={panel} />} />
    }
    default:
      return <Unknown node={node} />
  }
}

/** What this version does not know: said, with the rest of the report as it is. */
function Unknown({ node }: { node: Node }) {
  return <p className="w-secondary">[{visible(node.type, 40)}: this version of Weir cannot show it]</p>
}

function HeadingLine({ node }: { node: Node }) {
  const headings = useContext(Headings)
  const at = headings.findIndex((one) => one.node === node)
  const level = whole(node.attrs?.level, 1)
  const Line = level === 1 ? "h2" : level === 2 ? "h3" : "h4"
  return (
    <Line id={headingId(at)} className={`w-line-${level}`} tabIndex={-1} dir="auto">
      {inlines(node)}
    </Line>
  )
}

function AllHeadings() {
  return <Contents headings={useContext(Headings)} label="Contents" />
}

function inlines(node: Node): ReactNode {
  return (node.content ?? []).map((one, at) => <Inline key={at} node={one} />)
}

function Inline({ node }: { node: Node }): ReactNode {
  if (node.type === "hardBreak") return <br />
  if (node.type === "math") return <Formula tex={String(node.attrs?.tex ?? "")} />
  if (node.type !== "text") return <Unknown node={node} />
  const text: ReactNode = visible(node.text ?? "", 100_000)
  return (node.marks ?? []).reduce(marked, text)
}

function marked(inner: ReactNode, mark: Mark): ReactNode {
  switch (mark.type) {
    case "bold":
      return <strong>{inner}</strong>
    case "italic":
      return <em>{inner}</em>
    case "strike":
      return <s>{inner}</s>
    case "underline":
      return <u>{inner}</u>
    case "code":
      return <code>{inner}</code>
    case "link":
      return <ForeignLink to={String(mark.attrs?.href ?? "")}>{inner}</ForeignLink>
    default:
      return inner
  }
}
