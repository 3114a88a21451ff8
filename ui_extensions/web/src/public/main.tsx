import "../tokens.css"
import "../theme.css"
import "../controls/controls.css"
import "./public.css"

import { StrictMode } from "react"
import { createRoot } from "react-dom/client"

import { ErrorBoundary } from "../controls/state"
import { startTheme } from "../theme"
import { App } from "./app"
import { startRouter } from "./router"

startTheme()
startRouter()
const root = document.getElementById("root")
if (root === null) throw new Error("the page has no #root")
createRoot(root).render(
  <StrictMode>
    <ErrorBoundary what="The page">
      <App />
    </ErrorBoundary>
  </StrictMode>,
)
