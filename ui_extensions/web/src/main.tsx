import "./tokens.css"
import "./theme.css"
import "./controls/controls.css"
import "./layout/layout.css"

import { StrictMode, Suspense } from "react"
import { createRoot } from "react-dom/client"

import { later } from "./controls/later"
import { ErrorBoundary, Loading } from "./controls/state"
import type { Place } from "./grammar"
import { pathOf } from "./grammar"
import { PaletteHost } from "./palette/host"
import { Home } from "./pages/home"
import { NotFound } from "./pages/not-found"
import { askWorkspaceAhead, Workspace } from "./pages/workspace"
import { route, startRouter, useRoute } from "./router"
import { startTheme } from "./theme"

// A page's code is fetched with the page, but for the one that most go to.
const Compare = later(async () => (await import("./pages/compare")).Compare)
const SharedPage = later(async () => (await import("./share/page")).SharedPage)
const AlertsPage = later(async () => (await import("./alerts/page")).AlertsPage)
const TeamsPage = later(async () => (await import("./teams/page")).TeamsPage)
const ReportsPage = later(async () => (await import("./reports/list-page")).ReportsPage)
const ReportPage = later(async () => (await import("./reports/page")).ReportPage)
const EditPage = later(async () => (await import("./reports/edit-page")).EditPage)
const RunPage = later(async () => (await import("./run/page")).RunPage)

function Shown({ place }: { place: Place }) {
  switch (place.page) {
    case "home":
      return <Home />
    case "workspace":
      return <Workspace key={place.experimentIds.join()} experimentIds={place.experimentIds} />
    case "compare":
      return <Compare key={place.experimentIds.join()} experimentIds={place.experimentIds} />
    case "run":
      return <RunPage key={place.runId} runId={place.runId} tab={place.tab} />
    case "reports":
      return <ReportsPage />
    case "report": {
      const Report = place.isEdited ? EditPage : ReportPage
      return <Report key={pathOf(place)} reportId={place.reportId} />
    }
    case "shared":
      return <SharedPage />
    case "teams":
      return <TeamsPage />
    case "alerts":
      return <AlertsPage />
    default:
      return <NotFound />
  }
}

function App() {
  const { place } = useRoute()
  return (
    <>
      <ErrorBoundary what="The page" resetKey={pathOf(place)}>
        <Suspense fallback={<Loading label="Loading the page" />}>
          <Shown place={place} />
        </Suspense>
      </ErrorBoundary>
      <PaletteHost />
    </>
  )
}

startTheme()
startRouter()
const { place } = route()
if (place.page === "workspace") askWorkspaceAhead(place.experimentIds)
const root = document.getElementById("root")
if (root === null) throw new Error("the page has no #root")
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
