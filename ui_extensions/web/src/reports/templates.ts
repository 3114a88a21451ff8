/** What an empty report may begin with. */

import type { Node } from "./document"
import { runSet } from "./document"

export interface Template {
  readonly label: string
  readonly about: string
  readonly make: (experimentIds: readonly string[], metrics: readonly string[]) => Node
}

const text = (words: string): Node => ({ type: "text", text: words })
const paragraph = (words = ""): Node => ({ type: "paragraph", ...(words && { content: [text(words)] }) })
const heading = (words: string, level = 1): Node => ({ type: "heading", attrs: { level }, content: [text(words)] })

function charts(experimentIds: readonly string[], metrics: readonly string[], n: number): Node[] {
  const keys = metrics.slice(0, n)
  if (keys.length === 0) return []
  const cards = keys.map((key) => ({ id: key, kind: "line", keys: [key], w: 1, h: 15 }))
  const panel = { kind: "charts", title: "", runs: runSet(experimentIds, { most: 20 }), cards, settings: null }
  return [{ type: "panel", attrs: { panel } }]
}

function table(experimentIds: readonly string[], kind: "runs" | "compare", metrics: readonly string[]): Node {
  const runs = runSet(experimentIds, { most: kind === "runs" ? 10 : 5 })
  const own =
    kind === "runs"
      ? { columns: ["attributes.duration", ...metrics.slice(0, 3).map((key) => `metrics.${key}:latest`)] }
      : { parts: ["params", "metrics"], differences: true }
  return { type: "panel", attrs: { panel: { kind, title: "", runs, ...own } } }
}

export const TEMPLATES: readonly Template[] = [
  {
    label: "Weekly report",
    about: "what was tried, what came out, what is next",
    make: (ids, metrics) => ({
      type: "doc",
      content: [
        heading("Summary"),
        paragraph(),
        heading("What was tried"),
        { type: "bulletList", content: [{ type: "listItem", content: [paragraph()] }] },
        heading("Results"),
        ...charts(ids, metrics, 4),
        table(ids, "runs", metrics),
        heading("Next"),
        { type: "taskList", content: [{ type: "taskItem", attrs: { checked: false }, content: [paragraph()] }] },
      ],
    }),
  },
  {
    label: "One experiment",
    about: "question, set-up, charts, conclusion",
    make: (ids, metrics) => ({
      type: "doc",
      content: [
        { type: "callout", attrs: { kind: "note" }, content: [paragraph("The question, in one sentence.")] },
        heading("Set-up"),
        table(ids, "compare", metrics),
        heading("Results"),
        ...charts(ids, metrics, 2),
        heading("Conclusion"),
        paragraph(),
      ],
    }),
  },
  {
    label: "What went wrong",
    about: "a post-mortem: when, what was seen, why, what changes",
    make: (ids, metrics) => ({
      type: "doc",
      content: [
        { type: "callout", attrs: { kind: "danger" }, content: [paragraph("What happened, and what it cost.")] },
        heading("What was seen"),
        ...charts(ids, metrics, 2),
        heading("Why"),
        paragraph(),
        heading("What changes"),
        { type: "taskList", content: [{ type: "taskItem", attrs: { checked: false }, content: [paragraph()] }] },
      ],
    }),
  },
]
