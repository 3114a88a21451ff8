/**
 * Runs on MLflow's own page: adds the ways into our pages, and shows them inside its shell.
 *
 * Nothing here may break that page. Each part fails alone and in silence; where MLflow moves its
 * elements, the short cuts are lost and nothing else.
 */

import { updateDock, placeDock } from "./dock"
import type { DockLink } from "./dock"
import type { DockFacts } from "./facts"
import { dockFacts, experimentLevel } from "./facts"
import { placeFrame, startFrame, updateFrame } from "./frame"
import { updateNav } from "./nav"
import { onPlaceChange, readHash, shellHash } from "./place"

const LAST_EXPERIMENT_KEY = "weir.lastExperiment"
const WORKSPACE_ICON = "M2.5 2.5v11h11M4.5 10.5l3-4 2.5 2 3.5-5"
const REPORTS_ICON = "M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3M5.5 8h5M5.5 11h5"
const SHARED_ICON =
  "M6.5 9.5l3-3M7 4.5l1.5-1.5a3 3 0 014.5 4.5L11.5 9M9 11.5L7.5 13A3 3 0 013 8.5L4.5 7"
// The pages open their dialog where the query has it.
const SHARE = "share=1"
const VISIBILITY = "visibility=1"
// MLflow's page changes all the time; what covers what is looked at this often at most.
const SETTLE_MS = 250

function alone(part: () => void): void {
  try {
    part()
  } catch (error) {
    console.warn("Weir: a short cut is not shown", error)
  }
}

function lastExperiment(now: string | null): string | null {
  try {
    if (now !== null) localStorage.setItem(LAST_EXPERIMENT_KEY, now)
    const kept = now ?? localStorage.getItem(LAST_EXPERIMENT_KEY)
    return kept !== null && /^[0-9]{1,24}$/.test(kept) ? kept : null
  } catch {
    return now
  }
}

/** What is known of a tab before it is opened. */
function factOf(tab: string, { n_lines, is_changed, n_untracked }: DockFacts): string {
  if (tab === "Console" && n_lines > 0) return n_lines.toLocaleString("en-US")
  if (tab !== "Code") return ""
  const words = [is_changed && "changed", n_untracked > 0 && `${n_untracked} untracked`]
  return words.filter(Boolean).join(", ")
}

function update(): void {
  const place = readHash(location.hash)
  const to = (path: string, query = ""): string => shellHash(path, place.workspace, query)
  const isShared = place.weir?.path === "/shared"
  const isReport = place.weir?.path.startsWith("/reports") ?? false
  alone(() => updateFrame(place.weir))
  alone(() => {
    const experiment = lastExperiment(place.experimentId)
    updateNav([
      {
        id: "workspace",
        label: "Workspace",
        icon: WORKSPACE_ICON,
        hash: to(experiment === null ? "/" : `/e/${experiment}`),
        isCurrent: place.weir !== null && !isShared && !isReport,
      },
      {
        id: "reports",
        label: "Reports",
        icon: REPORTS_ICON,
        hash: to("/reports"),
        isCurrent: isReport,
      },
      {
        id: "shared",
        label: "Shared",
        icon: SHARED_ICON,
        hash: to("/shared"),
        isCurrent: isShared,
      },
    ])
  })
  alone(() => {
    const links: DockLink[] = []
    if (place.weir === null && place.runId !== null) {
      const facts = dockFacts(place.runId, place.workspace, update)
      for (const tab of ["Charts", "Console", "Code", "Hardware", "Gradients"]) {
        const fact = facts === null ? "" : factOf(tab, facts)
        links.push({ label: tab, fact, hash: to(`/r/${place.runId}/${tab.toLowerCase()}`) })
      }
      links.push({ label: "Share", fact: "", hash: to(`/r/${place.runId}/overview`, SHARE) })
    } else if (place.weir === null && place.experimentId !== null) {
      links.push({ label: "Charts", fact: "", hash: to(`/e/${place.experimentId}`) })
      links.push({ label: "Share", fact: "", hash: to(`/e/${place.experimentId}`, SHARE) })
      const level = experimentLevel(place.experimentId, place.workspace, update)
      if (level !== "") {
        links.push({ label: level, fact: "", hash: to(`/e/${place.experimentId}`, VISIBILITY) })
      }
    }
    updateDock(links)
  })
}

function start(): void {
  startFrame()
  onPlaceChange(update)
  let isWaiting = false
  const settle = (): void => {
    if (isWaiting) return
    isWaiting = true
    window.setTimeout(() => {
      isWaiting = false
      update()
    }, SETTLE_MS)
  }
  const move = (): void => {
    alone(placeFrame)
    settle()
  }
  new MutationObserver(settle).observe(document.body, {
    childList: true,
    subtree: true,
    attributes: true,
    attributeFilter: ["class"],
  })
  const sizes = new ResizeObserver(move)
  sizes.observe(document.body)
  // `main` and the side bar come later, and are made anew now and then.
  const watched = new WeakSet<Element>()
  new MutationObserver(() => {
    for (const found of document.querySelectorAll("main, aside")) {
      if (watched.has(found)) continue
      watched.add(found)
      sizes.observe(found)
    }
  }).observe(document.body, { childList: true, subtree: true })
  window.addEventListener("resize", move)
  document.addEventListener("scroll", () => alone(placeDock), { capture: true, passive: true })
  update()
}

alone(start)
