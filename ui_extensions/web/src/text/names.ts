/** Names of runs, which in a sweep are long and differ at their end. */

import { NAME_LENGTH, visible } from "./visible"

const SHORTEST_FOLD = 12
const TAIL = 9
/** So short a name is not divided. */
const WHOLE = 12

/** What all names begin with, up to the last mark in it; "" where folding it would not help. */
export function sharedPrefix(names: readonly string[]): string {
  const [first = ""] = names
  if (names.length < 2) return ""
  let length = first.length
  for (const name of names) {
    let at = 0
    while (at < length && name[at] === first[at]) at += 1
    length = at
    if (length < SHORTEST_FOLD) return ""
  }
  // The minus of 1e-3 divides nothing.
  const marks = [...first.slice(0, length).matchAll(/[_./: ]|(?<!\de)-/gi)]
  const prefix = first.slice(0, (marks.at(-1)?.index ?? -1) + 1)
  return prefix.length >= SHORTEST_FOLD ? prefix : ""
}

export interface ShownName {
  readonly head: string
  /** Kept where there is no room for all. */
  readonly tail: string
  readonly full: string
}

// A letter and its marks are one.
const SEGMENTS =
  typeof Intl.Segmenter === "function" ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null
const PLAIN = /^[\x20-\x7e]*$/

function charactersOf(text: string): string[] {
  if (SEGMENTS === null || PLAIN.test(text)) return [...text]
  return Array.from(SEGMENTS.segment(text), (one) => one.segment)
}

/** A name in so many characters at most, the end of it kept as well as the start. */
export function middleCut(name: string, most: number): string {
  const characters = charactersOf(name)
  if (characters.length <= most) return name
  const tail = Math.floor((most - 1) / 2)
  return `${characters.slice(0, most - 1 - tail).join("")}…${characters.slice(characters.length - tail).join("")}`
}

/** Divide a name for an ellipsis in its middle. */
export function shownName(name: string, id: string, prefix: string): ShownName {
  const full = visible(name || id.slice(0, 8), NAME_LENGTH)
  const folds = prefix !== "" && name.startsWith(prefix) && name.length > prefix.length
  const rest = folds ? `…${visible(name.slice(prefix.length), NAME_LENGTH)}` : full
  // By characters, not halves of them.
  const characters = charactersOf(rest)
  if (characters.length <= WHOLE) return { head: rest, tail: "", full }
  const kept = Math.min(TAIL, Math.floor(characters.length / 2))
  return {
    head: characters.slice(0, -kept).join(""),
    tail: characters.slice(-kept).join(""),
    full,
  }
}
