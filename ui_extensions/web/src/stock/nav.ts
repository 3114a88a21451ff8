/** Our entries in MLflow's side bar: appended, looking as their neighbours do, added again when lost. */

const MARK = "data-weir-nav"
const SVG = "http://www.w3.org/2000/svg"
// Narrower than this the side bar shows icons alone.
const COLLAPSED_BELOW_PX = 64

export interface NavEntry {
  id: string
  label: string
  /** Path data of a 16 px line icon. */
  icon: string
  hash: string
  isCurrent: boolean
}

/** Bring the side bar's list to hold these entries at its end; do nothing where there is no list. */
export function updateNav(entries: readonly NavEntry[]): void {
  const aside = document.querySelector("aside")
  const list = findList(aside)
  if (!aside || !list) return
  const isCollapsed = aside.getBoundingClientRect().width < COLLAPSED_BELOW_PX
  for (const entry of entries) {
    let item = list.querySelector<HTMLElement>(`:scope > [${MARK}="${entry.id}"]`)
    if (!item) {
      item = makeItem(list, entry)
      list.append(item)
    }
    const link = item.querySelector("a")
    const label = item.querySelector<HTMLElement>("[data-weir-label]")
    if (!link || !label) continue
    if (link.getAttribute("href") !== entry.hash) link.setAttribute("href", entry.hash)
    if (entry.isCurrent) link.setAttribute("aria-current", "page")
    else link.removeAttribute("aria-current")
    const colours = window.getComputedStyle(document.body)
    const isDark = document.body.classList.contains("dark-mode")
    link.style.background = entry.isCurrent
      ? isDark
        ? "rgba(138, 202, 255, 0.16)"
        : "rgba(34, 114, 180, 0.16)"
      : ""
    link.style.color = entry.isCurrent ? (isDark ? "#bae1fc" : "#0e538b") : colours.color
    link.style.fontWeight = entry.isCurrent ? "600" : ""
    label.style.display = isCollapsed ? "none" : ""
    if (isCollapsed) link.title = entry.label
    else link.removeAttribute("title")
  }
}

function findList(aside: Element | null): Element | null {
  const lists = [...(aside?.querySelectorAll("nav ul") ?? [])]
  // The first list with links is the one of the sections.
  return lists.find((list) => list.querySelector(":scope > li a[href]")) ?? null
}

function makeItem(list: Element, entry: NavEntry): HTMLElement {
  const neighbour = [...list.children].find(
    (item) => !item.hasAttribute(MARK) && item.querySelector("a[href]"),
  )
  const item = document.createElement("li")
  item.className = neighbour?.className ?? ""
  item.setAttribute(MARK, entry.id)
  const link = document.createElement("a")
  link.setAttribute("aria-label", entry.label)
  link.style.cssText = [
    "display: flex",
    "align-items: center",
    "gap: 8px",
    "padding: 4px 8px",
    "min-height: 24px",
    "border-radius: 4px",
    "text-decoration: none",
    "font: 13px/20px inherit",
    "white-space: nowrap",
    "overflow: hidden",
  ].join(";")
  const icon = document.createElementNS(SVG, "svg")
  for (const [name, value] of Object.entries({
    viewBox: "0 0 16 16",
    width: "16",
    height: "16",
    fill: "none",
    stroke: "currentColor",
    "stroke-width": "1.5",
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
    "aria-hidden": "true",
  })) {
    icon.setAttribute(name, value)
  }
  icon.style.flex = "none"
  const path = document.createElementNS(SVG, "path")
  path.setAttribute("d", entry.icon)
  icon.append(path)
  const label = document.createElement("span")
  label.setAttribute("data-weir-label", "")
  label.textContent = entry.label
  link.append(icon, label)
  item.append(link)
  return item
}
