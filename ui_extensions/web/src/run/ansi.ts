/**
 * Terminal colours as spans: our own parser, which knows SGR (`ESC [ … m`) and drops all else, links
 * and cursor moves among it. Colours are numbers, never text that could become anything.
 */

export interface AnsiStyle {
  /** 0–255 of the palette, or 0x1000000 + RGB; null is the page's own. */
  fg: number | null
  bg: number | null
  isBold: boolean
  isDim: boolean
  isItalic: boolean
  isUnderlined: boolean
  isInverse: boolean
}

export interface AnsiSpan {
  text: string
  style: AnsiStyle
}

const PLAIN: AnsiStyle = {
  fg: null,
  bg: null,
  isBold: false,
  isDim: false,
  isItalic: false,
  isUnderlined: false,
  isInverse: false,
}
export const TRUE_COLOUR = 0x1000000

// OSC and other strings to their end, CSI, two-character escapes.
// biome-ignore lint: control characters are what this is about
const SEQUENCE =
  /\u001b(?:\[([\u0030-\u003f]*)(?:([\u0020-\u002f]*[\u0040-\u007e])|[\u0020-\u002f]*$)|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\|$)|[\u0020-\u002f]*[\u0030-\u007e]|$)/g
const MOST_SPANS = 500

/** Split a line into spans of one style each; at most 500, the rest is one. */
export function parseAnsi(line: string): AnsiSpan[] {
  if (!line.includes("\u001b")) return line ? [{ text: line, style: PLAIN }] : []
  const spans: AnsiSpan[] = []
  let style = PLAIN
  let from = 0
  const push = (text: string): void => {
    if (!text) return
    const last = spans.at(-1)
    if (last && last.style === style) last.text += text
    else spans.push({ text, style })
  }
  for (const found of line.matchAll(SEQUENCE)) {
    if (spans.length >= MOST_SPANS) break
    push(line.slice(from, found.index))
    from = found.index + found[0].length
    if (found[2] === "m" && /^[0-9;:]*$/.test(found[1] ?? "")) style = applied(style, found[1] ?? "")
  }
  const rest = line.slice(from)
  push(spans.length >= MOST_SPANS ? rest.replace(SEQUENCE, "") : rest)
  return spans
}

/** The same text without its colours. */
export function withoutAnsi(line: string): string {
  return line.includes("\u001b") ? line.replace(SEQUENCE, "") : line
}

function applied(before: AnsiStyle, words: string): AnsiStyle {
  const codes = words.split(/[;:]/).map((word) => (word === "" ? 0 : Number(word)))
  let style = before
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at] ?? 0
    if (code === 0) style = PLAIN
    else if (code === 1) style = { ...style, isBold: true }
    else if (code === 2) style = { ...style, isDim: true }
    else if (code === 3) style = { ...style, isItalic: true }
    else if (code === 4) style = { ...style, isUnderlined: true }
    else if (code === 7) style = { ...style, isInverse: true }
    else if (code === 22) style = { ...style, isBold: false, isDim: false }
    else if (code === 23) style = { ...style, isItalic: false }
    else if (code === 24) style = { ...style, isUnderlined: false }
    else if (code === 27) style = { ...style, isInverse: false }
    else if (code >= 30 && code <= 37) style = { ...style, fg: code - 30 }
    else if (code >= 90 && code <= 97) style = { ...style, fg: code - 82 }
    else if (code === 39) style = { ...style, fg: null }
    else if (code >= 40 && code <= 47) style = { ...style, bg: code - 40 }
    else if (code >= 100 && code <= 107) style = { ...style, bg: code - 92 }
    else if (code === 49) style = { ...style, bg: null }
    else if (code === 38 || code === 48) {
      const [colour, used] = longColour(codes, at + 1)
      at += used
      if (colour !== null) style = code === 38 ? { ...style, fg: colour } : { ...style, bg: colour }
    }
  }
  return style
}

function longColour(codes: readonly number[], at: number): [number | null, number] {
  const isByte = (n: number | undefined): n is number =>
    n !== undefined && Number.isInteger(n) && n >= 0 && n <= 255
  if (codes[at] === 5) {
    const index = codes[at + 1]
    return [isByte(index) ? index : null, 2]
  }
  if (codes[at] === 2) {
    const [r, g, b] = codes.slice(at + 1, at + 4)
    const isWhole = isByte(r) && isByte(g) && isByte(b)
    return [isWhole ? TRUE_COLOUR + r * 65_536 + g * 256 + b : null, 4]
  }
  return [null, 0]
}

/** A colour as CSS has it; null for the 16 that have classes of the theme. */
export function cssColour(colour: number): string | null {
  if (colour < 16) return null
  if (colour >= TRUE_COLOUR) return `#${(colour - TRUE_COLOUR).toString(16).padStart(6, "0")}`
  if (colour >= 232) {
    const grey = 8 + (colour - 232) * 10
    return `rgb(${grey}, ${grey}, ${grey})`
  }
  const level = (n: number): number => (n === 0 ? 0 : 55 + n * 40)
  const at = colour - 16
  return `rgb(${level(Math.floor(at / 36))}, ${level(Math.floor(at / 6) % 6)}, ${level(at % 6)})`
}
