/** Light or dark: as MLflow's shell where we are framed, else as chosen there, else as the system. */

import { useSyncExternalStore } from "react"

import { isFramed } from "./router"

export type Theme = "light" | "dark"

// MLflow's own key, so that one choice holds for both.
const STORED = "_mlflow_dark_mode_toggle_enabled"
const listeners = new Set<() => void>()

/** The theme that is shown; `first-paint.js` has set it before anything was painted. */
export function theme(): Theme {
  shown ??= document.documentElement.dataset.theme === "dark" ? "dark" : "light"
  return shown
}

/** What the page's element says, which every component asks for. */
let shown: Theme | null = null

/** The theme that is shown; renders again when it changes. */
export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }, theme)
}

function show(next: Theme): void {
  if (theme() === next) return
  document.documentElement.dataset.theme = shown = next
  for (const listener of [...listeners]) listener()
}

/** Show a theme for a moment, such as on paper; returns how to go back. */
export function showForNow(next: Theme): () => void {
  const before = theme()
  show(next)
  return () => show(before)
}

/** Choose a theme, for MLflow's pages too. */
export function chooseTheme(next: Theme): void {
  try {
    localStorage.setItem(STORED, String(next === "dark"))
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  show(next)
}

function stored(): Theme | null {
  try {
    const value = localStorage.getItem(STORED)
    return value === "true" ? "dark" : value === "false" ? "light" : null
  } catch {
    return null
  }
}

/** Follow changes made elsewhere. Called once, by `main.tsx`. */
export function startTheme(): void {
  if (isFramed()) {
    const body = window.parent.document.body
    const follow = (): void => show(body.classList.contains("dark-mode") ? "dark" : "light")
    new MutationObserver(follow).observe(body, { attributes: true, attributeFilter: ["class"] })
    follow()
    return
  }
  const system = matchMedia("(prefers-color-scheme: dark)")
  const follow = (): void => show(stored() ?? (system.matches ? "dark" : "light"))
  system.addEventListener("change", follow)
  window.addEventListener("storage", (event) => {
    if (event.key === STORED) follow()
  })
}
