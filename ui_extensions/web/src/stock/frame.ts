/**
 * Our pages inside MLflow's shell: a frame over its `main`, which shows "Page Not Found" below.
 *
 * This page owns the history. The frame replaces its own URL only and tells us; we push or replace
 * `#/weir…`, and tell the frame where Back and Forward lead (`router.ts` is the other end).
 */

import { STOCK } from "../addresses"
import type { FrameMessage, ShellMessage } from "../router"
import { SHELL_PREFIX } from "./place"

// A frame that has loaded and does not answer was not let in (X-Frame-Options): the page opens whole.
const ANSWER_MS = 10_000
// One that is not even loaded by then: on a slow way that takes long, and goes well.
const LOAD_MS = 60_000
const NARROW_PX = 576

interface Shown {
  frame: HTMLIFrameElement
  path: string
  query: string
  isReady: boolean
  title: string | null
  timer: number
}

let shown: Shown | null = null
let titleBefore: string | null = null

function standalone(path: string, query: string): string {
  return `${STOCK.pathname}weir${path}${query}`
}

/** Show a place of ours, or take the frame away. */
export function updateFrame(place: { path: string; query: string } | null): void {
  if (place === null) {
    if (shown) hide(shown)
    return
  }
  if (window.innerWidth < NARROW_PX) {
    // The shell leaves no room: the page has it all.
    location.replace(standalone(place.path, place.query))
    return
  }
  if (!shown) {
    shown = show(place.path, place.query)
  } else if (shown.path !== place.path || shown.query !== place.query) {
    shown.path = place.path
    shown.query = place.query
    tell(shown)
  }
  placeFrame()
}

function show(path: string, query: string): Shown {
  const frame = document.createElement("iframe")
  frame.title = "Weir"
  frame.dataset.weirFrame = ""
  frame.src = standalone(path, `${query ? `${query}&` : "?"}shell=1`)
  frame.style.cssText =
    "position: fixed; border: 0; border-radius: 8px; z-index: 10; background: transparent;" +
    (document.body.classList.contains("dark-mode") ? "color-scheme: dark" : "color-scheme: light")
  document.body.append(frame)
  titleBefore = document.title
  const giveUp = (): void => {
    if (shown && !shown.isReady) location.assign(standalone(shown.path, shown.query))
  }
  const made = { frame, path, query, isReady: false, title: null, timer: window.setTimeout(giveUp, LOAD_MS) }
  frame.addEventListener("load", () => {
    window.clearTimeout(made.timer)
    made.timer = window.setTimeout(giveUp, ANSWER_MS)
  })
  return made
}

function hide(gone: Shown): void {
  window.clearTimeout(gone.timer)
  gone.frame.remove()
  shown = null
  if (titleBefore !== null) document.title = titleBefore
}

function tell(to: Shown): void {
  const message: ShellMessage = { weir: "show", path: to.path, query: to.query }
  if (to.isReady) to.frame.contentWindow?.postMessage(message, location.origin)
}

/** Put the frame over MLflow's `main`; over everything where there is none. */
export function placeFrame(): void {
  if (!shown) return
  const main = document.querySelector("main")?.getBoundingClientRect()
  const isUsable = main !== undefined && main.width > 200 && main.height > 200
  const at = isUsable
    ? main
    : { left: 0, top: 0, width: window.innerWidth, height: window.innerHeight }
  const { style } = shown.frame
  style.left = `${at.left}px`
  style.top = `${at.top}px`
  style.width = `${at.width}px`
  style.height = `${Math.min(at.height, window.innerHeight - at.top)}px`
  style.colorScheme = document.body.classList.contains("dark-mode") ? "dark" : "light"
}

function isFrameMessage(data: unknown): data is FrameMessage {
  if (typeof data !== "object" || data === null) return false
  const message = data as Record<string, unknown>
  switch (message.weir) {
    case "ready":
      return true
    case "go":
      return typeof message.hash === "string" && message.hash.startsWith("#/")
    case "url":
      return (
        typeof message.path === "string" &&
        message.path.startsWith("/") &&
        typeof message.query === "string" &&
        (message.query === "" || message.query.startsWith("?")) &&
        typeof message.title === "string" &&
        typeof message.push === "boolean"
      )
    default:
      return false
  }
}

function keepTitle(): void {
  const title = shown?.title
  if (title && document.title !== title) document.title = title
}

/** Listen to the frame. Called once. */
export function startFrame(): void {
  // MLflow's page, which finds nothing at this place, may say so in the title after the frame spoke.
  new MutationObserver(keepTitle).observe(document.head, {
    childList: true,
    subtree: true,
    characterData: true,
  })
  window.addEventListener("message", (event) => {
    if (event.origin !== location.origin) return
    if (!shown || event.source !== shown.frame.contentWindow) return
    const message: unknown = event.data
    if (!isFrameMessage(message)) return
    if (message.weir === "ready") {
      const isFirst = !shown.isReady
      shown.isReady = true
      // It has moved on while the frame was loading.
      if (isFirst) tell(shown)
      return
    }
    if (message.weir === "go") {
      location.hash = message.hash
      return
    }
    shown.path = message.path
    shown.query = message.query
    shown.title = message.title.slice(0, 200)
    keepTitle()
    const hash = `#${SHELL_PREFIX}${message.path}${message.query}`
    if (hash === location.hash) return
    if (message.push) history.pushState(nextState(), "", hash)
    else history.replaceState(history.state, "", hash)
  })
}

/** MLflow's router counts its entries in the state; ours count with them. */
function nextState(): unknown {
  const { idx } = (history.state ?? {}) as { idx?: unknown }
  return { usr: null, key: Math.random().toString(36).slice(2, 10), idx: Number(idx ?? 0) + 1 }
}
