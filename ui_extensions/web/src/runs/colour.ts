/**
 * The colour and dash of a run: of its number in its experiment, the same on every page and for
 * ever. A colour chosen by somebody, here or in MLflow, wins (tag `mlflow.runColor`).
 */

import type { Theme } from "../theme"

// Searched for the largest smallest distance, under normal sight and three kinds of colour
// blindness, each at 3:1 or more on both backgrounds.
const SLOTS: Record<Theme, readonly string[]> = {
  light: ["#2272b4", "#d44567", "#673702", "#879f18", "#421792", "#346d26", "#970d63", "#cb71df"],
  dark: ["#4299e0", "#ff6c8b", "#8b592c", "#abc54b", "#7154ce", "#57914a", "#c03e86", "#e7a3f7"],
}

/** MLflow's own colours, so that one chosen in either place exists in both. */
export const STOCK_COLOURS = [
  "#a6630c", "#c83243", "#b45091", "#8a63bf", "#434a93", "#137dae", "#04867d", "#308613",
  "#facb66", "#1f272d", "#445461", "#5f7281", "#8396a5", "#93320b", "#be501e", "#de7921",
  "#f2be88", "#115026", "#277c43", "#3ba65e", "#8ddda8", "#9e102c", "#c82d4c", "#e65b77",
  "#f792a6", "#0e538b", "#2272b4", "#4299e0", "#8acaff",
] as const

export type Dash = 0 | 1 | 2
const N_SLOTS = 8
const HEX = /^#[0-9a-f]{6}$/i

export function slotColour(slot: number, theme: Theme): string {
  return SLOTS[theme][((slot % N_SLOTS) + N_SLOTS) % N_SLOTS] ?? "#2272b4"
}

export function runColour(
  run: { readonly ordinal: number; readonly colour?: string },
  theme: Theme,
): string {
  if (run.colour !== undefined && HEX.test(run.colour)) return run.colour.toLowerCase()
  return slotColour(run.ordinal, theme)
}

export function runDash(run: { readonly ordinal: number; readonly colour?: string }): Dash {
  if (run.colour !== undefined && HEX.test(run.colour)) return 0
  return (Math.floor(run.ordinal / N_SLOTS) % 3) as Dash
}

/** The contrast of two colours `#rrggbb`, 1 to 21. */
export function contrast(one: string, other: string): number {
  const [light = 0, dark = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a)
  return (light + 0.05) / (dark + 0.05)
}

function luminance(colour: string): number {
  const channel = (at: number): number => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  }
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}
