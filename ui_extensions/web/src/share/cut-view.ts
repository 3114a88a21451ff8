/**
 * A view without anything that is not ticked: names of columns, groups and charts, filters and
 * searches are text of the experiment too, and would tell what the answers keep back.
 */

import { COMPARED } from "../charts/sections"
import type { CardLayout, GridLayout } from "../charts/types"
import { layoutOf, settingsOf } from "../charts/types"
import { parseColumn } from "../runs/columns"
import type { ViewDocument } from "../view/document"
import type { Shown } from "./api"
import { EVERY } from "./api"

const ASIDE: readonly [RegExp, "hardware" | "histograms"][] = [
  [/^system\//, "hardware"],
  [/^(gradients|parameters)\//, "histograms"],
]
const ATTRIBUTES = ["start_time", "end_time", "duration", "status"]

/** Say whether a metric is among what visitors see. */
export function isMetricShown(key: string, shown: Shown): boolean {
  const aside = ASIDE.find(([pattern]) => pattern.test(key))
  if (aside) return shown[aside[1]]
  return shown.metrics.includes(EVERY) || shown.metrics.includes(key)
}

/** Say whether a column, as the API names it, is. */
export function isColumnShown(name: string, shown: Shown): boolean {
  const { kind, key } = parseColumn(name)
  if (kind === "metrics") return isMetricShown(key, shown)
  if (kind === "params" || kind === "tags") return shown[kind].includes(key)
  if (kind !== "attributes") return false
  return ATTRIBUTES.includes(key) || (key === "user_id" && shown.host)
}

export function cutView(doc: ViewDocument, shown: Shown): ViewDocument {
  const isShown = (name: string): boolean => isColumnShown(name, shown)
  return {
    ...doc,
    // Which runs there are is the link's scope; these are the words it was made of.
    filter: "",
    search: "",
    isRegex: false,
    hidesCrashed: false,
    showsDeleted: false,
    chartSearch: "",
    order: doc.order.filter((term) => isShown(term.replace(/^-/, ""))),
    columns: doc.columns.filter((column) => isShown(column.name)),
    groupBy: doc.groupBy.filter(isShown),
    colourBy: doc.colourBy !== "" && isShown(doc.colourBy) ? doc.colourBy : "",
    higherIsBetter: doc.higherIsBetter.filter((key) => isMetricShown(key, shown)),
    settings: cutSettings(doc.settings, shown),
    layout: cutLayout(doc.layout, shown),
  }
}

function cutSettings(kept: unknown, shown: Shown): unknown {
  if (kept === null) return null
  const { groups: _, ...settings } = settingsOf(kept)
  if (!settings.x.startsWith("m:") || isMetricShown(settings.x.slice(2), shown)) return settings
  return { ...settings, x: "step", zoom: null }
}

/** Say whether there is a text among the charts, which is a note too. */
export function hasTexts(doc: ViewDocument | null): boolean {
  if (doc === null) return false
  return layoutOf(doc.layout).sections.some(({ cards }) => cards.some((card) => card.kind === "text"))
}

/** A panel that compares runs; what it chooses itself it chooses of what is shown. */
function cutPanel({ columns = [], ...card }: CardLayout, shown: Shown): CardLayout | null {
  if (card.kind === "media") return shown.media ? card : null
  const kept = columns.filter((name) => isColumnShown(name, shown))
  // Parallel coordinates and importance have an axis, or a row, less; others are about both.
  const isAboutAll = card.kind === "bars" || card.kind === "scatter"
  if (isAboutAll ? kept.length < columns.length : kept[0] !== columns[0]) return null
  const { title, ...rest } = card
  // Its title may be words about what is left out.
  const named = title !== undefined && kept.length === columns.length ? { title } : {}
  return { ...rest, ...named, ...(kept.length > 0 ? { columns: kept } : {}) }
}

function cutLayout(kept: unknown, shown: Shown): GridLayout | null {
  if (kept === null) return null
  const { sections, favourites } = layoutOf(kept)
  const isShown = (key: string): boolean => isMetricShown(key, shown)
  return {
    sections: sections.flatMap((section) => {
      const cards = section.cards.flatMap(({ settings, ...card }) => {
        if (card.kind === "text") return shown.notes ? [card] : []
        if (card.kind !== "line" && card.kind !== "scalar") {
          const panel = cutPanel(card, shown)
          return panel === null ? [] : [{ ...panel, ...(settings ? { settings } : {}) }]
        }
        // A pattern is words about metrics, and what it matches is only known where all are shown.
        const isKept =
          card.pattern === undefined
            ? card.keys.every(isShown)
            : shown.metrics.includes(EVERY) && card.keys.every(isShown)
        if (!isKept) return []
        const own = settings?.x?.startsWith("m:") ? undefined : settings
        return [{ ...card, ...(own ? { settings: own } : {}) }]
      })
      // Where somebody took the panels away they do not come back.
      return cards.length === 0 && section.prefix !== COMPARED ? [] : [{ ...section, cards }]
    }),
    favourites: favourites.filter(isShown),
  }
}
