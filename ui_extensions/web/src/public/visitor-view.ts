/** The view of a visitor: what was shared, and what the visitor makes of it, kept in the fragment. */

import { useCallback, useEffect, useMemo, useState } from "react"

import { route, setQuery } from "../router"
import type { Arrangement } from "../view/arrangement"
import type { Patch, ViewDocument } from "../view/document"
import { DEFAULT_VIEW, readDocument } from "../view/document"
import { apply, redo, startHistory, undo } from "../view/history"
import { readQuery, writeQuery } from "../view/url"
import type { Share } from "./share"
import { hasCharts } from "./share"

const UNNAMED = { view: null, state: null }

let left = new URLSearchParams()

/** How the list was arranged when it was left, for the way back to it. */
export function listQuery(): URLSearchParams {
  return left
}

/** The view as it was shared; the runs are a table where nothing can be drawn. */
export function sharedView(share: Share): ViewDocument {
  const read = readDocument(JSON.stringify(share.view)) ?? DEFAULT_VIEW
  return hasCharts(share) ? read : { ...read, side: { ...read.side, isTable: true } }
}

export function useVisitorView(share: Share): Arrangement {
  const base = useMemo(() => sharedView(share), [share])
  const [history, setHistory] = useState(() =>
    startHistory({ ...base, ...readQuery(route().query, base) }),
  )
  const doc = history.document
  useEffect(() => {
    if (route().place.page === "run") return
    left = writeQuery(doc, base, UNNAMED, route().query)
    setQuery(left)
  }, [doc, base])
  const update = useCallback((patch: Patch, word?: string): void => {
    setHistory((before) => apply(before, patch, word ?? null, Date.now()))
  }, [])
  return useMemo(
    () => ({
      doc,
      update,
      undo: () => setHistory(undo),
      redo: () => setHistory(redo),
      canUndo: history.past.length > 0,
      canRedo: history.future.length > 0,
    }),
    [doc, update, history],
  )
}
