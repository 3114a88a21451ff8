/** Links in words: what they show, of which runs, until when. */

import { count, dateTime } from "../text/format"
import type { Keyed, Part, Share, Shown, ShareState } from "./api"
import { EVERY, KEYED, PARTS } from "./api"

export const PART_WORDS: Record<Part, string> = {
  notes: "Notes",
  code: "Commit and packages",
  patch: "Patch",
  console: "Console",
  command: "Command",
  host: "Machine and user",
  git_url: "Repository’s address",
  files: "Files",
  media: "Pictures, sounds, films",
  hardware: "Hardware",
  histograms: "Gradients",
}

const KEYED_WORDS: Record<Keyed, [string, string]> = {
  metrics: ["metric", "metrics"],
  params: ["param", "params"],
  tags: ["tag", "tags"],
}

export const STATE_WORDS: Record<ShareState, { word: string; kind: string }> = {
  active: { word: "Active", kind: "w-badge-ok" },
  paused: { word: "Paused", kind: "w-badge-warn" },
  expired: { word: "Expired", kind: "" },
  revoked: { word: "Revoked", kind: "w-badge-bad" },
  off: { word: "Switched off", kind: "w-badge-warn" },
}

export function runsWord(n: number): string {
  return `${count(n)} ${n === 1 ? "run" : "runs"}`
}

/** `all metrics, 2 params, notes, console`. */
export function shownWords(shown: Shown): string {
  const keyed = KEYED.flatMap((kind) => {
    const keys = shown[kind]
    const [one, many] = KEYED_WORDS[kind]
    if (keys.includes(EVERY)) return [`all ${many}`]
    return keys.length === 0 ? [] : [`${count(keys.length)} ${keys.length === 1 ? one : many}`]
  })
  const parts = PARTS.filter((part) => shown[part]).map((part) => PART_WORDS[part].toLowerCase())
  const all = [...keyed, ...parts]
  return all.length === 0 ? "names and times alone" : all.join(", ")
}

/** `A view of 12 runs, as of 2026-11-12 12:04:00`. */
export function scopeWords(share: Share): string {
  const runs = share.n_runs === null ? "its runs" : runsWord(share.n_runs)
  const what = {
    run: "One run",
    runs: share.n_runs === null ? "Runs" : runsWord(share.n_runs),
    view: `A view of ${runs}`,
    experiment: share.n_runs === null ? "The whole experiment" : `The experiment, ${runs}`,
    report: `A report with ${runs}`,
  }[share.kind]
  return `${what}, ${share.is_live ? "live" : `as of ${dateTime(share.as_of_ms).slice(0, 16)}`}`
}

/** `never`, `in 12 d`, `5 h ago`. */
export function untilWords(ms: number | null, nowMs = Date.now()): string {
  if (ms === null) return "never"
  const s = Math.abs(ms - nowMs) / 1_000
  const size =
    s < 3_600
      ? `${Math.max(1, Math.round(s / 60))} m`
      : s < 86_400
        ? `${Math.round(s / 3_600)} h`
        : `${Math.round(s / 86_400)} d`
  return ms > nowMs ? `in ${size}` : `${size} ago`
}
