import "./console.css"

import { useMemo } from "react"

import { visible } from "../text/visible"
import type { AnsiStyle } from "./ansi"
import { cssColour, parseAnsi } from "./ansi"

const LONGEST = 10_000

/** One line of a console, in its colours; what cannot be seen is shown, and words are marked. */
export function AnsiLine({ text, mark = "" }: { text: string; mark?: string }) {
  const spans = useMemo(() => parseAnsi(text), [text])
  return (
    <>
      {spans.map((span, at) => (
        // biome-ignore lint: spans have no identity but their place
        <span key={at} className={classes(span.style)} style={colours(span.style)}>
          <Marked text={visible(span.text, LONGEST)} mark={mark} />
        </span>
      ))}
    </>
  )
}

function Marked({ text, mark }: { text: string; mark: string }) {
  if (!mark) return <>{text}</>
  const lower = text.toLowerCase()
  const words = mark.toLowerCase()
  const parts: React.ReactNode[] = []
  let from = 0
  for (let at = lower.indexOf(words); at >= 0 && parts.length < 200; at = lower.indexOf(words, from)) {
    parts.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + words.length)}</mark>)
    from = at + words.length
  }
  return (
    <>
      {parts}
      {text.slice(from)}
    </>
  )
}

function classes(style: AnsiStyle): string {
  const [fg, bg] = style.isInverse ? [style.bg, style.fg] : [style.fg, style.bg]
  const found = []
  if (fg !== null && fg < 16) found.push(`w-fg-${fg}`)
  if (bg !== null && bg < 16) found.push(`w-bg-${bg}`)
  if (style.isInverse && style.fg === null && style.bg === null) found.push("w-ansi-inverse")
  if (style.isBold) found.push("w-ansi-bold")
  if (style.isDim) found.push("w-ansi-dim")
  if (style.isItalic) found.push("w-ansi-italic")
  if (style.isUnderlined) found.push("w-ansi-underlined")
  return found.join(" ")
}

function colours(style: AnsiStyle): React.CSSProperties | undefined {
  const [fg, bg] = style.isInverse ? [style.bg, style.fg] : [style.fg, style.bg]
  const color = fg === null ? null : cssColour(fg)
  const backgroundColor = bg === null ? null : cssColour(bg)
  if (color === null && backgroundColor === null) return undefined
  return { ...(color && { color }), ...(backgroundColor && { backgroundColor }) }
}
