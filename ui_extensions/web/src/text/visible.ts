/**
 * Text from anybody, made safe to look at: what could turn the line around, hide or break it is
 * shown as an escape. For display alone; sorting, searching and copying use the text as it is.
 */

// Controls, zero-width characters, line and paragraph separators, bidi marks, embeddings and
// overrides, isolates, the BOM, and tag characters.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\u{e0001}|[\u{e0020}-\u{e007f}]/gu
const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** The longest name that is laid out, and the longest cell. */
export const NAME_LENGTH = 250
export const CELL_LENGTH = 1_000

/** Return the text with what cannot be seen written as `\u{…}`, at most `length` characters. */
export function visible(text: string, length = CELL_LENGTH): string {
  const cut = text.length > length ? `${text.slice(0, length)}…` : text
  return cut.replace(LONE, escaped).replace(HIDDEN, escaped)
}

function escaped(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`
}

/**
 * Return an address that may become a link, or null: http, https and mailto alone, and no user or
 * password in it.
 */
export function safeLink(address: string): string | null {
  try {
    const url = new URL(address)
    if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null
    if (url.username || url.password) return null
    return url.href
  } catch {
    return null
  }
}
