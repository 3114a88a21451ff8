/** Which cards there are: a section a prefix, as the view arranges them, then what it does not name. */

import type { CardLayout, GridLayout, SectionLayout } from "./types"

export const DEFAULT_HEIGHT = 15 // rows of 20 px
const CLOSED = ["gradients", "parameters", "system"]
const MANY_CARDS = 50

export const FAVOURITES = "\u2605"
/** Where charts go that somebody makes. */
export const OWN = "\u2606"

/** What comes before the last slash; metrics without one are together. */
export function prefixOf(key: string): string {
  const at = key.lastIndexOf("/")
  return at <= 0 ? "" : key.slice(0, at)
}

/** What a card is called. */
export function titleOf(card: CardLayout): string {
  if (card.title) return card.title
  if (card.kind === "text") return firstWords(card.text ?? "")
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

/** Put the metrics that there are into sections, keeping what the layout says of them. */
export function sectionsOf(
  keys: readonly string[],
  layout: GridLayout,
  columns: number,
  search: string,
): SectionLayout[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  const isFound = (text: string): boolean => words.every((word) => text.toLowerCase().includes(word))
  const known = new Set(keys)
  const byPrefix = new Map<string, string[]>()
  for (const key of keys) {
    const prefix = prefixOf(key)
    const found = byPrefix.get(prefix)
    if (found) found.push(key)
    else byPrefix.set(prefix, [key])
  }
  const arranged = new Map(layout.sections.map((section) => [section.prefix, section]))
  // Arranging a card moves no section.
  const order = (prefix: string): string => `${isClosed(prefix, 0) ? 1 : 0}${prefix}`
  const prefixes = [...byPrefix.keys()].sort((a, b) => (order(a) < order(b) ? -1 : 1))
  const found: SectionLayout[] = []
  const made = arranged.get(OWN)
  if (made && made.cards.length > 0) found.push({ ...made, columns: made.columns || columns })
  const favourites = layout.favourites.filter((key) => known.has(key))
  if (favourites.length > 0) {
    found.push({
      prefix: FAVOURITES,
      isOpen: arranged.get(FAVOURITES)?.isOpen ?? true,
      columns: arranged.get(FAVOURITES)?.columns ?? columns,
      cards: favourites.map((key) => ({ ...card(key), id: `${FAVOURITES}${key}` })),
    })
  }
  for (const prefix of prefixes) {
    const own = byPrefix.get(prefix) ?? []
    const kept = arranged.get(prefix)
    const cards = (kept?.cards ?? []).filter((one) => one.isOwn || one.keys.some((key) => known.has(key)))
    const placed = new Set(cards.flatMap((one) => (one.isOwn ? [] : one.keys)))
    const all = [...cards, ...own.filter((key) => !placed.has(key)).map(card)]
    found.push({
      prefix,
      isOpen: kept?.isOpen ?? !isClosed(prefix, all.length),
      columns: kept?.columns || columns,
      cards: all,
    })
  }
  if (words.length === 0) return found
  return found
    .map((section) => ({
      ...section,
      isOpen: true,
      cards: section.cards.filter((one) =>
        [...one.keys, one.title ?? "", one.pattern ?? "", one.text ?? ""].some(isFound),
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

/** Move a card before another one of its section. */
export function moved(cards: readonly CardLayout[], id: string, before: string | null): CardLayout[] {
  const card = cards.find((one) => one.id === id)
  if (!card || id === before) return [...cards]
  const rest = cards.filter((one) => one.id !== id)
  const at = before === null ? rest.length : rest.findIndex((one) => one.id === before)
  rest.splice(at < 0 ? rest.length : at, 0, card)
  return rest
}
