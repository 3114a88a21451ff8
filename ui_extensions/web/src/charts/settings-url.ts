/** The settings of all charts as keys of a URL: `x`, `xl`, `yl`, `s`, `z`; defaults are left out. */

import type { ChartSettings, XAxis } from "./types"
import { settingsOf } from "./types"

export const SETTINGS_KEYS = ["x", "xl", "yl", "s", "z"] as const

/** What differs from a base, by key, in their order. */
export function writeSettings(value: unknown, base: unknown): [string, string][] {
  const now = settingsOf(value)
  const before = settingsOf(base)
  const found: [string, string][] = []
  const say = (key: (typeof SETTINGS_KEYS)[number], text: (of: ChartSettings) => string): void => {
    if (text(now) !== text(before)) found.push([key, text(now)])
  }
  say("x", ({ x }) => x)
  say("xl", ({ xLog }) => (xLog ? "log" : "linear"))
  say("yl", ({ yScale }) => yScale)
  say("s", ({ smoothing }) => (smoothing.kind === "none" ? "none" : `${smoothing.kind}:${smoothing.amount}${smoothing.original ? "" : ":only"}`))
  say("z", ({ zoom }) => (zoom === null ? "" : `${short(zoom[0])}..${short(zoom[1])}`))
  return found
}

/** Nine digits place a range to the pixel; times are told in full. */
function short(value: number): string {
  return String(Math.abs(value) >= 1e9 ? Math.round(value) : Number(value.toPrecision(9)))
}

/** Settings with what a URL says instead; null where it says nothing. */
export function readSettings(query: URLSearchParams, base: unknown): ChartSettings | null {
  if (!SETTINGS_KEYS.some((key) => query.has(key))) return null
  const settings: ChartSettings = { ...settingsOf(base) }
  const text = (key: (typeof SETTINGS_KEYS)[number]): string | null => query.get(key)
  const [kind = "", amount = "", original = ""] = (text("s") ?? "").split(":")
  const range = (text("z") ?? "").split("..").map(Number)
  const said = {
    ...settings,
    ...(text("x") === null ? {} : { x: text("x") as XAxis }),
    ...(text("xl") === null ? {} : { xLog: text("xl") === "log" }),
    ...(text("yl") === null ? {} : { yScale: text("yl") }),
    ...(text("s") === null
      ? {}
      : {
          smoothing: {
            kind,
            amount: amount === "" ? settings.smoothing.amount : Number(amount),
            original: original !== "only",
          },
        }),
    ...(text("z") === null ? {} : { zoom: range }),
  }
  // It may come from anybody: what cannot be read has its default.
  return settingsOf(said)
}
