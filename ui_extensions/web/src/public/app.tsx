import { Suspense, useCallback, useEffect, useRef, useState } from "react"

import type { ApiError } from "../api/client"
import { isAbort, onRefusal } from "../api/client"
import { later } from "../controls/later"
import { ErrorBoundary, Failed, Loading } from "../controls/state"
import { pathOf } from "../grammar"
import { Gone } from "./gone"
import { keepKey } from "./headers"
import { Password } from "./password"
import { useRoute } from "./router"
import type { Share } from "./share"
import { askShare } from "./share"
import { Shell } from "./shell"

const VisitorWorkspace = later(async () => (await import("./workspace")).VisitorWorkspace)
const VisitorReport = later(async () => (await import("./report")).VisitorReport)
const VisitorRun = later(async () => (await import("./run")).VisitorRun)

// What was found missing may be one run, or all of it: the share itself is asked at most so often.
const ASK_AGAIN_MS = 3_000

type Standing =
  | { kind: "loading" | "locked" | "gone" }
  | { kind: "failed"; error: Error }
  | { kind: "shown"; share: Share }

/** What the link leads to, or why it does not. */
export function App() {
  const [standing, setStanding] = useState<Standing>({ kind: "loading" })
  const [attempt, setAttempt] = useState(0)
  const askedAt = useRef(0)
  const isShown = standing.kind === "shown"
  const retry = useCallback(() => setAttempt((n) => n + 1), [])
  useEffect(() => {
    const abort = new AbortController()
    askedAt.current = Date.now()
    askShare(abort.signal).then(
      (share) => setStanding({ kind: "shown", share }),
      (error: unknown) => {
        if (isAbort(error) || abort.signal.aborted) return
        const { status, details } = error as ApiError
        if (status === 401 && details.needs_password === true) setStanding({ kind: "locked" })
        else if (status === 404) setStanding({ kind: "gone" })
        else setStanding({ kind: "failed", error: error as Error })
      },
    )
    return () => abort.abort()
  }, [attempt])
  useEffect(() => {
    if (!isShown) return
    let timer = 0
    const stop = onRefusal(({ status }) => {
      if (timer !== 0 || (status !== 401 && status !== 404)) return
      if (status === 401) keepKey(null)
      timer = window.setTimeout(retry, Math.max(0, askedAt.current + ASK_AGAIN_MS - Date.now()))
    })
    return () => {
      stop()
      window.clearTimeout(timer)
    }
  }, [isShown, attempt, retry])
  if (standing.kind === "gone") return <Gone />
  if (standing.kind === "locked") {
    return (
      <Password
        onKey={(key) => {
          keepKey(key)
          retry()
        }}
      />
    )
  }
  if (standing.kind === "shown") return <Shown share={standing.share} />
  return (
    <Shell title={document.title}>
      {standing.kind === "failed" ? (
        <Failed what="The page could not be read" error={standing.error} onRetry={retry} />
      ) : (
        <Loading label="Loading the page" rows={10} />
      )}
    </Shell>
  )
}

function Shown({ share }: { share: Share }) {
  const { place } = useRoute()
  const loading = (
    <Shell title={share.title}>
      <Loading label="Loading the page" rows={10} />
    </Shell>
  )
  const runId = place.page === "run" ? place.runId : (share.run_id ?? null)
  return (
    <ErrorBoundary what="The page" resetKey={pathOf(place)}>
      <Suspense fallback={loading}>
        {runId === null && share.report ? (
          <VisitorReport share={share} document={share.report} />
        ) : runId === null ? (
          <VisitorWorkspace share={share} />
        ) : (
          <VisitorRun
            key={runId}
            share={share}
            runId={runId}
            tab={place.page === "run" ? place.tab : "overview"}
          />
        )}
      </Suspense>
    </ErrorBoundary>
  )
}
