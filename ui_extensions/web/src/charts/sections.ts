/** Which cards there are: a section a prefix, as the view arranges them, then what it does not name. */

import { columnTitle } from "../runs/columns"
import type { CardKind, CardLayout, GridLayout, SectionLayout } from "./types"

export const DEFAULT_HEIGHT = 15 // rows of 20 px
const CLOSED = ["gradients", "parameters", "system"]
const MANY_CARDS = 50

export const FAVOURITES = "\u2605"
/** Where charts go that somebody makes. */
export const OWN = "\u2606"

/** Where the panels are that compare runs by what they are made of. */
export const COMPARED = "\u21c4"
const ASIDE: readonly string[] = [OWN, FAVOURITES, COMPARED]

export const KIND_WORDS: Record<CardKind, string> = {
  line: "Lines",
  scalar: "One number a run",
  bars: "Bars",
  scatter: "Scatter",
  parallel: "Parallel coordinates",
  importance: "Param importance",
  compare: "Runs side by side",
  media: "Images",
  text: "Text",
}

function panel(kind: CardKind, w: number): CardLayout {
  return { id: `panel-${kind}`, kind, keys: [], isOwn: true, w, h: DEFAULT_HEIGHT }
}

/**
 * What is there before anybody arranged it, closed: it reads every param. Once it is arranged it is
 * as its view says, without what was removed.
 *
 * @param has Which kinds there may be.
 */
export function comparedSection(has: (kind: CardKind) => boolean = () => true): SectionLayout {
  const cards = [
    panel("importance", 1),
    panel("scatter", 1),
    { ...panel("bars", 1), isUp: true as const },
    panel("parallel", 3),
    panel("compare", 3),
    panel("media", 3),
  ]
  return { prefix: COMPARED, isOpen: false, columns: 0, cards: cards.filter((one) => has(one.kind)) }
}

/** What a section is called. */
export function sectionName(prefix: string): string {
  if (prefix === FAVOURITES) return "Favourites"
  if (prefix === OWN) return "Own charts"
  if (prefix === COMPARED) return "Compare runs"
  return prefix || "Metrics"
}

/** What comes before the last slash; metrics without one are together. */
export function prefixOf(key: string): string {
  const at = key.lastIndexOf("/")
  return at <= 0 ? "" : key.slice(0, at)
}

/** What a card is called. */
export function titleOf(card: CardLayout): string {
  if (card.title) return card.title
  if (card.kind === "text") return firstWords(card.text ?? "")
  const [first = "", second = ""] = (card.columns ?? []).map(columnTitle)
  if (card.kind === "scatter" && second) return `${second} over ${first}`
  if (card.kind === "bars" && first) return second ? `${first} by ${second}` : first
  if (card.kind === "importance" && first) return `What goes with ${first}`
  if (card.kind === "parallel" && first) return `Params and ${first}`
  if (card.kind === "media" && card.keys.length > 0) return card.keys.join(", ")
  if (card.kind !== "line" && card.kind !== "scalar") return KIND_WORDS[card.kind]
  return card.pattern ? `/${card.pattern}/` : card.keys.join(", ")
}

/** The first line of Markdown, as far as it is words. */
function firstWords(text: string): string {
  const line = text.split("\n").find((one) => /[\p{L}\p{N}]/u.test(one)) ?? ""
  return line.replace(/^[#>*\s-]+/, "").slice(0, 60).trim() || "Text"
}

function isClosed(prefix: string, nCards: number): boolean {
  return nCards > MANY_CARDS || CLOSED.includes(prefix.split("/")[0] ?? "")
}

function card(key: string): CardLayout {
  return { id: key, kind: "line", keys: [key], w: 1, h: DEFAULT_HEIGHT }
}

/** Say whether a card is of what there is. A card of one's own always is: somebody made it. */
function isThere(card: CardLayout, known: ReadonlySet<string>): boolean {
  return card.isOwn === true || card.keys.some((key) => known.has(key))
}

/**
 * Put the metrics that there are into sections, keeping what the layout says of them.
 *
 * @param first A section that is there also where the layout says nothing of it.
 */
export function sectionsOf(
  keys: readonly string[],
  layout: GridLayout,
  columns: number,
  search: string,
  first: SectionLayout | null = null,
): SectionLayout[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  const isFound = (text: string): boolean => words.every((word) => text.toLowerCase().includes(word))
  const known = new Set(keys)
  const byPrefix = new Map<string, string[]>()
  const arranged = new Map(layout.sections.map((section) => [section.prefix, section]))
  // A metric's card may have been moved to another section.
  const placed = new Set(layout.sections.flatMap(({ cards }) => cards.flatMap((one) => (one.isOwn ? [] : one.keys))))
  for (const { prefix, cards } of layout.sections) {
    if (!ASIDE.includes(prefix) && cards.some((one) => isThere(one, known))) byPrefix.set(prefix, [])
  }
  for (const key of keys) {
    if (placed.has(key)) continue
    const prefix = prefixOf(key)
    const found = byPrefix.get(prefix)
    if (found) found.push(key)
    else byPrefix.set(prefix, [key])
  }
  // Arranging a card moves no section.
  const order = (prefix: string): string => `${isClosed(prefix, 0) ? 1 : 0}${prefix}`
  const prefixes = [...byPrefix.keys()].sort((a, b) => (order(a) < order(b) ? -1 : 1))
  const found: SectionLayout[] = []
  const add = (section: SectionLayout): void => {
    found.push({ ...section, columns: section.columns || columns })
  }
  const made = arranged.get(OWN)
  if (made && made.cards.length > 0) add(made)
  const favourites = layout.favourites.filter((key) => known.has(key))
  if (favourites.length > 0) {
    add({
      prefix: FAVOURITES,
      isOpen: arranged.get(FAVOURITES)?.isOpen ?? true,
      columns: arranged.get(FAVOURITES)?.columns ?? 0,
      cards: favourites.map((key) => ({ ...card(key), id: `${FAVOURITES}${key}` })),
    })
  }
  const compared = arranged.get(COMPARED) ?? first
  if (compared !== null && compared.cards.length > 0) add(compared)
  for (const prefix of prefixes) {
    const kept = arranged.get(prefix)
    const cards = (kept?.cards ?? []).filter((one) => isThere(one, known))
    const all = [...cards, ...(byPrefix.get(prefix) ?? []).map(card)]
    add({ prefix, isOpen: kept?.isOpen ?? !isClosed(prefix, all.length), columns: kept?.columns ?? 0, cards: all })
  }
  if (words.length === 0) return found
  return found
    .map((section) => ({
      ...section,
      isOpen: true,
      cards: section.cards.filter((one) =>
        [...one.keys, titleOf(one), KIND_WORDS[one.kind], one.pattern ?? "", one.text ?? ""].some(isFound),
      ),
    }))
    .filter((section) => section.cards.length > 0)
}

/** Change one section of a layout; what is not named in it yet is added. */
export function withSection(layout: GridLayout, section: SectionLayout): GridLayout {
  const others = layout.sections.filter((one) => one.prefix !== section.prefix)
  const at = layout.sections.findIndex((one) => one.prefix === section.prefix)
  const sections = [...others]
  sections.splice(at < 0 ? sections.length : at, 0, section)
  return { ...layout, sections }
}

/** Put a new card at the top of a section; of the section of one's own, which may not be there yet. */
export function withCard(layout: GridLayout, sections: readonly SectionLayout[], prefix: string, card: CardLayout): GridLayout {
  const section = sections.find((one) => one.prefix === prefix) ?? { prefix, isOpen: true, columns: 0, cards: [] }
  return withSection(layout, { ...section, isOpen: true, cards: [card, ...section.cards] })
}

/** Where a card is, or is to be: in which section, and before which other card; null is at its end. */
export interface CardPlace {
  prefix: string
  before: string | null
}

/** Move a card to another place. Favourites are only ordered: they are a list of metrics. */
export function withMoved(
  layout: GridLayout,
  sections: readonly SectionLayout[],
  from: string,
  id: string,
  to: CardPlace,
): GridLayout {
  const source = sections.find((one) => one.prefix === from)
  const target = sections.find((one) => one.prefix === to.prefix)
  const moved = source?.cards.find((one) => one.id === id)
  if (!source || !target || !moved || to.before === id) return layout
  const put = (cards: readonly CardLayout[]): CardLayout[] => {
    const rest = cards.filter((one) => one.id !== id)
    const at = to.before === null ? -1 : rest.findIndex((one) => one.id === to.before)
    rest.splice(at < 0 ? rest.length : at, 0, moved)
    return rest
  }
  if (from === FAVOURITES || to.prefix === FAVOURITES) {
    if (from !== to.prefix) return layout
    return { ...layout, favourites: put(source.cards).flatMap((one) => one.keys) }
  }
  if (source === target) return withSection(layout, { ...source, cards: put(source.cards) })
  const without = withSection(layout, { ...source, cards: source.cards.filter((one) => one.id !== id) })
  return withSection(without, { ...target, cards: put(target.cards) })
}

/** Where a card goes that is moved by one: at the end of a section, into the next one that is open. */
export function placeBeside(
  sections: readonly SectionLayout[],
  prefix: string,
  id: string,
  isBack: boolean,
): CardPlace | null {
  const open = sections.filter((one) => one.prefix === prefix || (one.isOpen && one.prefix !== FAVOURITES))
  const at = open.findIndex((one) => one.prefix === prefix)
  const cards = open[at]?.cards ?? []
  const place = cards.findIndex((one) => one.id === id)
  if (isBack ? place > 0 : place < cards.length - 1) {
    return { prefix, before: (isBack ? cards[place - 1] : cards[place + 2])?.id ?? null }
  }
  const next = prefix === FAVOURITES ? undefined : open[at + (isBack ? -1 : 1)]
  return next ? { prefix: next.prefix, before: isBack ? null : (next.cards[0]?.id ?? null) } : null
}
