/**
 * The paths of the extension's pages: one grammar, standalone (`<prefix>/weir` + P) and inside
 * MLflow's shell (`<prefix>/#/weir` + P). Shared by the pages and the script on MLflow's own page.
 */

export const RUN_TABS = [
  "overview",
  "charts",
  "hardware",
  "console",
  "code",
  "gradients",
  "media",
  "files",
] as const

export type RunTab = (typeof RUN_TABS)[number]

export type Place =
  | { page: "home" }
  | { page: "workspace"; experimentIds: string[] }
  | { page: "compare"; experimentIds: string[] }
  | { page: "run"; runId: string; tab: RunTab }
  | { page: "reports" }
  | { page: "report"; reportId: string; isEdited: boolean }
  | { page: "shared" }
  | { page: "teams" }
  | { page: "alerts" }
  | { page: "unknown" }

/** Query keys that belong to where a page is shown, not to what it shows. */
export const WORKSPACE_KEY = "workspace"
export const SHELL_KEY = "shell"

const EXPERIMENTS = /^[0-9]{1,24}(,[0-9]{1,24})*$/
const RUN = /^[0-9a-f]{32}$/
const REPORT = /^[0-9a-z]{1,64}$/

function isRunTab(word: string): word is RunTab {
  return (RUN_TABS as readonly string[]).includes(word)
}

/** Read a path P, with or without its leading slash. */
export function parsePlace(path: string): Place {
  const [head = "", id = "", tail = "", ...rest] = path.replace(/^\/+|\/+$/g, "").split("/")
  if (rest.length > 0) return { page: "unknown" }
  if (head === "" || head === "home") return id ? { page: "unknown" } : { page: "home" }
  if (head === "shared" && !id) return { page: "shared" }
  if (head === "teams" && !id) return { page: "teams" }
  if (head === "alerts" && !id) return { page: "alerts" }
  if (head === "reports" && !id) return { page: "reports" }
  if (head === "reports" && REPORT.test(id) && (tail === "" || tail === "edit")) {
    return { page: "report", reportId: id, isEdited: tail === "edit" }
  }
  if (head === "e" && EXPERIMENTS.test(id)) {
    const experimentIds = [...new Set(id.split(","))]
    if (tail === "") return { page: "workspace", experimentIds }
    if (tail === "compare") return { page: "compare", experimentIds }
  }
  if (head === "r" && RUN.test(id) && (tail === "" || isRunTab(tail))) {
    return { page: "run", runId: id, tab: tail === "" ? "overview" : tail }
  }
  return { page: "unknown" }
}

/** Write the path P of a place, with its leading slash. */
export function pathOf(place: Place): string {
  switch (place.page) {
    case "workspace":
      return `/e/${place.experimentIds.join(",")}`
    case "compare":
      return `/e/${place.experimentIds.join(",")}/compare`
    case "run":
      return `/r/${place.runId}/${place.tab}`
    case "reports":
      return "/reports"
    case "report":
      return `/reports/${place.reportId}${place.isEdited ? "/edit" : ""}`
    case "shared":
      return "/shared"
    case "teams":
      return "/teams"
    case "alerts":
      return "/alerts"
    default:
      return "/"
  }
}

/** Write `?a=b`, or nothing where there is nothing to say. */
export function queryText(query: URLSearchParams): string {
  // Commas and colons are what our values consist of, and are allowed in a query as they are.
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/")
  return text ? `?${text}` : ""
}
