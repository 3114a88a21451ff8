/**
 * A small pill at the bottom of MLflow's experiment and run pages: the short cuts into ours.
 *
 * It lives in a shadow root, left of the Assistant's button, and never covers a control of MLflow's:
 * it looks what lies under it, moves up, and hides where there is no free place.
 */

import { DOCK_CSS } from "./dock.css"

export interface DockLink {
  label: string
  /** Said behind the label where it is known; "" says nothing. */
  fact: string
  hash: string
}

const COLLAPSED_KEY = "weir.dock.collapsed"
const MARGIN_RIGHT_PX = 64
const MARGIN_BOTTOM_PX = 14
const STEP_PX = 40
const MOST_STEPS = 6
const NARROW_MAIN_PX = 480
const SVG = "http://www.w3.org/2000/svg"
const CONTROLS =
  "a,button,input,select,textarea,summary,label,[role=button],[role=tab],[role=link],[role=menuitem]," +
  "[role=option],[role=combobox],[role=checkbox],[role=switch],[role=slider],[role=dialog],[role=separator]"

let host: HTMLElement | null = null
let bar: HTMLElement | null = null
let drawn = ""

function isCollapsed(): boolean {
  try {
    return localStorage.getItem(COLLAPSED_KEY) === "1"
  } catch {
    return false
  }
}

function setCollapsed(is: boolean): void {
  try {
    localStorage.setItem(COLLAPSED_KEY, is ? "1" : "0")
  } catch {
    // It lasts as long as the page, then.
  }
}

function icon(path: string): SVGElement {
  const svg = document.createElementNS(SVG, "svg")
  svg.setAttribute("viewBox", "0 0 16 16")
  svg.setAttribute("aria-hidden", "true")
  const shape = document.createElementNS(SVG, "path")
  shape.setAttribute("d", path)
  svg.append(shape)
  return svg
}

/** Show these short cuts; none takes the dock away. */
export function updateDock(links: readonly DockLink[]): void {
  if (links.length === 0) {
    host?.remove()
    host = bar = null
    drawn = ""
    return
  }
  if (!host || !bar || !host.isConnected) {
    host = document.createElement("weir-dock")
    const root = host.attachShadow({ mode: "open" })
    const sheet = new CSSStyleSheet()
    sheet.replaceSync(DOCK_CSS)
    root.adoptedStyleSheets = [sheet]
    bar = document.createElement("nav")
    bar.setAttribute("aria-label", "Weir")
    root.append(bar)
    document.body.append(host)
    drawn = ""
  }
  host.dataset.theme = document.body.classList.contains("dark-mode") ? "dark" : "light"
  const now = JSON.stringify([links, isCollapsed()])
  if (now !== drawn) {
    drawn = now
    draw(bar, links)
  }
  placeDock()
}

function draw(into: HTMLElement, links: readonly DockLink[]): void {
  const collapsed = isCollapsed()
  const toggle = document.createElement("button")
  toggle.type = "button"
  toggle.title = collapsed ? "Show Weir's pages" : "Hide Weir's pages"
  toggle.setAttribute("aria-label", toggle.title)
  toggle.setAttribute("aria-expanded", String(!collapsed))
  toggle.append(icon(collapsed ? "M2.5 2.5v11h11M4.5 10.5l3-4 2.5 2 3.5-5" : "M6 4l4 4-4 4"))
  toggle.addEventListener("click", () => {
    setCollapsed(!collapsed)
    updateDock(links)
    into.querySelector("button")?.focus()
  })
  const anchors = collapsed
    ? []
    : links.map((link) => {
        const anchor = document.createElement("a")
        anchor.href = link.hash
        anchor.textContent = link.label
        if (link.fact) {
          const fact = document.createElement("span")
          fact.textContent = link.fact
          anchor.append(" ", fact)
        }
        return anchor
      })
  into.replaceChildren(...anchors, toggle)
}

/** Move the dock to a place where it covers no control; hide it where there is none. */
export function placeDock(): void {
  if (!host || !bar) return
  const main = document.querySelector("main")?.getBoundingClientRect()
  const right = main ? main.right : window.innerWidth
  const width = main ? main.width : window.innerWidth
  if (width < NARROW_MAIN_PX) {
    bar.style.display = "none"
    return
  }
  bar.style.display = ""
  bar.style.visibility = "hidden"
  bar.style.right = `${Math.max(8, window.innerWidth - right + MARGIN_RIGHT_PX)}px`
  for (let step = 0; step < MOST_STEPS; step += 1) {
    bar.style.bottom = `${MARGIN_BOTTOM_PX + step * STEP_PX}px`
    if (!coversControl(bar.getBoundingClientRect())) {
      bar.style.visibility = ""
      return
    }
  }
}

function coversControl(at: DOMRect): boolean {
  for (let x = at.left + 2; x < at.right; x += 12) {
    for (const y of [at.top + 2, at.top + at.height / 2, at.bottom - 2]) {
      for (const found of document.elementsFromPoint(x, y)) {
        if (found === host) continue
        if (found.closest(CONTROLS)) return true
      }
    }
  }
  return false
}
