/** What the panels and pictures of a report show now, as files and tables of their own: for exports. */

import { drawingsIn } from "../charts/drawings"
import { dateTime } from "../text/format"

export interface Figure {
  readonly title: string
  /** Charts as SVG, pictures as data addresses. */
  readonly drawings: readonly string[]
  readonly pictures: readonly { readonly address: string; readonly alt: string }[]
  readonly tables: readonly (readonly (readonly string[])[])[]
  /** What is neither: the words. */
  readonly text: string
}

const WAIT_MS = 120_000
const LOOK_MS = 150

const UNFINISHED = "[data-loading=true], .w-loading, .w-skeleton"

/** Wait until everything within an element is there; false where something is not after two minutes. */
export async function isComplete(place: Element): Promise<boolean> {
  const until = Date.now() + WAIT_MS
  let quiet = 0
  while (Date.now() < until) {
    await new Promise((done) => setTimeout(done, LOOK_MS))
    const panels = [...place.querySelectorAll(".w-panel")]
    const isDone =
      place.querySelector(UNFINISHED) === null && panels.every((one) => one.querySelector(".w-panel-head") !== null)
    quiet = isDone ? quiet + 1 : 0
    // Parts that are fetched come in after each other.
    if (quiet >= 3) return true
  }
  return false
}

/** A file's content as a data address. */
export async function dataAddress(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.arrayBuffer())
  let text = ""
  for (let at = 0; at < bytes.length; at += 8_192) text += String.fromCharCode(...bytes.subarray(at, at + 8_192))
  return `data:${blob.type};base64,${btoa(text)}`
}

export function svgAddress(svg: string): string {
  const bytes = new TextEncoder().encode(svg)
  let text = ""
  for (let at = 0; at < bytes.length; at += 8_192) text += String.fromCharCode(...bytes.subarray(at, at + 8_192))
  return `data:image/svg+xml;base64,${btoa(text)}`
}

/** A picture that the page shows from memory, as a data address; null where it is gone. */
export async function pictureAddress(image: HTMLImageElement): Promise<string | null> {
  if (!image.src.startsWith("blob:") || !image.naturalWidth) return null
  const canvas = document.createElement("canvas")
  canvas.width = image.naturalWidth
  canvas.height = image.naturalHeight
  canvas.getContext("2d")?.drawImage(image, 0, 0)
  const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/png"))
  return blob === null ? null : dataAddress(blob)
}

const UNSAID = "button, [aria-hidden=true]"

/** What an element says to whoever cannot see it: what stands in parts of its own is kept apart. */
export function wordsOf(element: Element): string {
  const words = (place: Element): string =>
    [...place.childNodes]
      .map((one) => {
        if (!(one instanceof Element)) return one.nodeType === Node.TEXT_NODE ? one.textContent : ""
        if (one.matches(UNSAID)) return ""
        // Of a name what is seen is cut; what it is told by is whole.
        return ` ${one.matches(".w-name") ? (one.getAttribute("title") ?? words(one)) : words(one)} `
      })
      .join("")
  return words(element).replace(/\s+/g, " ").trim()
}

function cells(table: HTMLTableElement): string[][] {
  return [...table.rows]
    .filter((row) => row.getAttribute("aria-hidden") !== "true")
    .map((row) => [...row.cells].map(wordsOf))
}

/** What a panel is called, of how many runs it is, and as of when: a file does not stay live. */
export function captionOf(panel: Element, nowMs = Date.now()): string {
  const parts = [...(panel.querySelector(".w-panel-head")?.children ?? [])]
    .filter((one) => !one.matches(".w-panel-actions"))
    .map(wordsOf)
    .filter(Boolean)
  return parts.join(" · ").replace(/\blive$/, `as of ${dateTime(nowMs).slice(0, 16)}`)
}

export async function figureOf(panel: Element): Promise<Figure> {
  const pictures = []
  for (const image of panel.querySelectorAll("img")) {
    const address = await pictureAddress(image)
    if (address !== null) pictures.push({ address, alt: image.alt })
  }
  const drawings = drawingsIn(panel)
  const tables = [...panel.querySelectorAll("table")].map(cells)
  const isBare = drawings.length === 0 && tables.length === 0 && pictures.length === 0
  return {
    title: captionOf(panel),
    drawings,
    pictures,
    tables,
    text: isBare ? ((panel as HTMLElement).innerText ?? "").trim().slice(0, 100_000) : "",
  }
}
