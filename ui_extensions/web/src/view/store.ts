/**
 * The view of a workspace: loaded, changed, undone, written to the URL, and saved.
 *
 * Without a name it is one's own and saves itself a second after the last change. A named view, and
 * what a link stands for, never change by themselves: changes stay in this tab until they are saved.
 */

import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState } from "react"

import { ApiError, isAbort } from "../api/client"
import { afterPaint } from "../controls/rested"
import { setQuery, useRoute } from "../router"
import type { SavedView, ViewName, Views } from "./api"
import { listViews, readView, saveNamed, savePersonal } from "./api"
import type { Arrangement } from "./arrangement"
import type { Patch, ViewDocument } from "./document"
import { DEFAULT_VIEW, isSame, readDocument } from "./document"
import type { History } from "./history"
import { apply, redo, startHistory, undo } from "./history"
import type { Named } from "./url"
import { readNamed, readQuery, writeQuery } from "./url"

const REST_MS = 1_000
const RETRY_MS = 5_000

export type Saving = "saved" | "waiting" | "saving" | "failed" | "conflict"

export interface View extends Arrangement {
  readonly kind: "personal" | "named" | "state"
  readonly name: string
  readonly named: Named
  /** Differs from what the named view or link holds. */
  readonly isChanged: boolean
  readonly saving: Saving
  readonly views: readonly ViewName[]
  readonly mayEdit: boolean
  /** What could not be read of a kept view, for download. */
  readonly broken: string | null
  readonly saveAs: (name: string) => Promise<void>
  readonly save: () => Promise<void>
  readonly reset: () => void
  readonly reload: () => void
  /** Save this tab's view over what another one saved. */
  readonly overwrite: () => void
}

interface Loaded {
  readonly views: Views
  readonly source: SavedView | null
  readonly base: ViewDocument
  readonly broken: string | null
}

const ViewContext = createContext<View | null>(null)
export const ViewProvider = ViewContext.Provider

/** The view of the workspace around. */
export function useView(): View {
  const view = useContext(ViewContext)
  if (view === null) throw new Error("useView outside a workspace")
  return view
}

export interface ViewLoad {
  readonly view: View | null
  readonly error: Error | null
  readonly retry: () => void
}

/** Say whether a personal view is not what the server has. */
function isUnsaved(doc: ViewDocument, kept: string): boolean {
  return JSON.stringify(doc) !== (kept || JSON.stringify(DEFAULT_VIEW))
}

/** Load and keep the view of some experiments. */
export function useViewStore(experimentIds: readonly string[]): ViewLoad {
  const { query } = useRoute()
  const scope = experimentIds.join()
  const named = readNamed(query)
  const namedKey = JSON.stringify(named)
  const [attempt, setAttempt] = useState(0)
  const [loaded, setLoaded] = useState<Loaded | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const [history, setHistory] = useState<History>(() => startHistory(DEFAULT_VIEW))
  const [saving, setSaving] = useState<Saving>("saved")
  // The revision and content that the server has.
  const kept = useRef<{ revision: number; text: string }>({ revision: 0, text: "" })
  const skipLoad = useRef(false)

  useEffect(() => {
    if (skipLoad.current) {
      skipLoad.current = false
      return
    }
    const abort = new AbortController()
    const wanted = JSON.parse(namedKey) as Named
    const load = async (): Promise<void> => {
      const options = { signal: abort.signal }
      const reading = wanted.state
        ? readView(wanted.state, null, options)
        : wanted.view
          ? readView(wanted.view.id, wanted.view.revision, options)
          : null
      const [views, other] = await Promise.all([listViews(scope.split(","), options), reading])
      const source = other ?? views.personal
      const read = source === null ? DEFAULT_VIEW : readDocument(source.document)
      const base = read ?? DEFAULT_VIEW
      const start = { ...base, ...readQuery(new URLSearchParams(location.search), base) }
      kept.current = {
        revision: views.personal?.revision ?? 0,
        text: other === null ? JSON.stringify(base) : "",
      }
      setHistory(startHistory(start))
      setLoaded({ views, source, base, broken: read === null ? (source?.document ?? "") : null })
      setSaving("saved")
      setError(null)
    }
    load().catch((failure: unknown) => {
      if (abort.signal.aborted || isAbort(failure)) return
      setError(failure instanceof Error ? failure : new Error(String(failure)))
    })
    return () => abort.abort()
  }, [scope, namedKey, attempt])

  const doc = history.document
  const kind = named.state ? "state" : named.view ? "named" : "personal"

  // The URL follows the document.
  useEffect(() => {
    if (loaded === null) return
    const base = kind === "personal" ? DEFAULT_VIEW : loaded.base
    // All that looks at the URL is rendered by it: not before what was changed is on the page.
    return afterPaint(() => {
      const before = new URLSearchParams(location.search)
      before.delete("shell")
      before.delete("workspace")
      setQuery(writeQuery(doc, base, JSON.parse(namedKey) as Named, before), { push: false })
    })
  }, [doc, loaded, kind, namedKey])

  const isBroken = loaded?.broken !== null && loaded?.broken !== undefined
  const savePersonalNow = useCallback(
    async (document: ViewDocument): Promise<void> => {
      const text = JSON.stringify(document)
      setSaving("saving")
      try {
        const { revision } = await savePersonal(scope.split(","), text, kept.current.revision)
        kept.current = { revision, text }
        setSaving("saved")
      } catch (failure) {
        setSaving(failure instanceof ApiError && failure.status === 409 ? "conflict" : "failed")
      }
    },
    [scope],
  )

  // One's own view saves itself; not before something was changed, nor over one that is broken.
  useEffect(() => {
    if (loaded === null || kind !== "personal" || isBroken) return
    if (saving === "conflict" || saving === "saving") return
    let timer: number | undefined
    const stop = afterPaint(() => {
      if (!isUnsaved(doc, kept.current.text)) {
        if (saving !== "saved") setSaving("saved")
        return
      }
      if (saving === "saved") setSaving("waiting")
      const wait = saving === "failed" ? RETRY_MS : REST_MS
      timer = window.setTimeout(() => void savePersonalNow(doc), wait)
    })
    return () => {
      stop()
      window.clearTimeout(timer)
    }
  }, [doc, loaded, kind, saving, savePersonalNow, isBroken])

  // A tab that closes has no second to rest.
  const latest = useRef({ doc, kind, saving })
  latest.current = { doc, kind, saving }
  useEffect(() => {
    const onHide = (): void => {
      const now = latest.current
      if (document.visibilityState === "hidden" && now.kind === "personal") {
        const mayWait = now.saving === "waiting" || now.saving === "saved"
        if (mayWait && isUnsaved(now.doc, kept.current.text)) void savePersonalNow(now.doc)
      }
    }
    document.addEventListener("visibilitychange", onHide)
    return () => document.removeEventListener("visibilitychange", onHide)
  }, [savePersonalNow])

  const update = useCallback((patch: Patch, word?: string): void => {
    setHistory((before) => apply(before, patch, word ?? null, Date.now()))
  }, [])
  const doUndo = useCallback(() => setHistory(undo), [])
  const doRedo = useCallback(() => setHistory(redo), [])

  const showNamed = useCallback((id: string, revision: number): void => {
    const next = new URLSearchParams(location.search)
    for (const key of ["st", "shell", "workspace"]) next.delete(key)
    next.set("v", `${id}@${revision}`)
    setQuery(next, { push: false })
  }, [])

  const view = useMemo<View | null>(() => {
    if (loaded === null) return null
    const experiments = scope.split(",")
    const store = async (name: string, base: { id: string; revision: number } | null) => {
      const saved = await saveNamed(experiments, name, JSON.stringify(doc), base)
      const views = await listViews(experiments, {})
      const source: SavedView = {
        id: saved.id,
        kind: "named",
        experiments,
        name,
        revision: saved.revision,
        author: "",
        at: Date.now(),
        document: JSON.stringify(doc),
      }
      skipLoad.current = true
      setLoaded({ views, source, base: doc, broken: null })
      showNamed(saved.id, saved.revision)
    }
    return {
      doc,
      update,
      undo: doUndo,
      redo: doRedo,
      canUndo: history.past.length > 0,
      canRedo: history.future.length > 0,
      kind,
      name: kind === "named" ? (loaded.source?.name ?? "") : "",
      named: JSON.parse(namedKey) as Named,
      isChanged: kind !== "personal" && !isSame(doc, loaded.base),
      saving,
      views: loaded.views.named,
      mayEdit: loaded.views.may_edit,
      user: loaded.views.user,
      broken: loaded.broken,
      saveAs: (name) => store(name, null),
      save: () => {
        const { source } = loaded
        if (kind !== "named" || source === null) return Promise.resolve()
        return store(source.name, { id: source.id, revision: source.revision })
      },
      reset: () => setHistory((before) => apply(before, loaded.base, null, Date.now())),
      reload: () => setAttempt((n) => n + 1),
      overwrite: () => {
        void listViews(experiments, {}).then((views) => {
          kept.current = { revision: views.personal?.revision ?? 0, text: "" }
          setLoaded((before) => (before === null ? null : { ...before, broken: null }))
          return savePersonalNow(doc)
        })
      },
    }
  }, [
    doc,
    history,
    kind,
    loaded,
    namedKey,
    saving,
    scope,
    update,
    doUndo,
    doRedo,
    showNamed,
    savePersonalNow,
  ])
  const retry = useCallback(() => setAttempt((n) => n + 1), [])
  return { view, error, retry }
}
