import "./console.css"

import { useVirtualizer } from "@tanstack/react-virtual"
import { useEffect, useRef, useState } from "react"

import { call, isAbort } from "../api/client"
import { Button, IconButton } from "../controls/button"
import { Checkbox, SearchBox } from "../controls/input"
import { Empty, Failed, Loading } from "../controls/state"
import { setQuery, useRoute } from "../router"
import { count, dateTime } from "../text/format"
import { visible } from "../text/visible"
import { withoutAnsi } from "./ansi"
import { AnsiLine } from "./ansi-line"
import { ConsoleChart } from "./console-chart"
import type { ConsoleAnswer, ConsoleSource } from "./console-lines"
import { useLines } from "./console-lines"
import { isLive } from "./facts"
import { lineAt } from "./line-at"
import type { TabProps } from "./tab-props"
import { fileName, saveFile } from "./save"

const ROW_PX = 18
const MOST_FOUND = 1_000
const SEARCH_WAIT_MS = 250
const DOWNLOAD_LINES = 10_000

/** All a run printed: virtual, live, searched by the server. */
export function Console({ run }: TabProps) {
  const [source, setSource] = useState<string | null>(null)
  const lines = useLines(run.id, source, isLive(run))
  const { query } = useRoute()
  const linked = Number(query.get("line") ?? Number.NaN)
  // A chart may have led here: to what was printed at its time.
  const wantedMs = Number(query.get("t") ?? Number.NaN)
  const [isFollowing, setFollowing] = useState(
    !Number.isInteger(linked) && !Number.isFinite(wantedMs),
  )
  const [hasChart, setChart] = useState(Number.isFinite(wantedMs))
  const [isWrapped, setWrapped] = useState(false)
  const [hasTimes, setTimes] = useState(false)
  const [search, setSearch] = useState("")
  const found = useFound(run.id, source, search)
  const [at, setAt] = useState(0)
  const box = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({
    count: lines.total,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    overscan: 20,
    ...(isWrapped ? {} : { measureElement: () => ROW_PX }),
  })
  const items = virtual.getVirtualItems()
  const first = items[0]?.index ?? 0
  const last = items.at(-1)?.index ?? 0
  const { want, total } = lines
  useEffect(() => {
    if (total > 0) want(first, last)
  }, [want, first, last, total, lines.version])
  useEffect(() => {
    if (isFollowing && total > 0) virtual.scrollToIndex(total - 1, { align: "end" })
  }, [isFollowing, total, virtual])
  const jump = (n: number): void => {
    setFollowing(false)
    virtual.scrollToIndex(n, { align: "center" })
  }
  const isLoaded = total > 0
  useEffect(() => {
    if (isLoaded && Number.isInteger(linked) && linked >= 0) {
      virtual.scrollToIndex(linked, { align: "center" })
    }
    // Once, when there are lines: from then on the reader scrolls.
  }, [isLoaded])
  const foundLine = found.lines[at]
  useEffect(() => {
    if (foundLine !== undefined) jump(foundLine)
  }, [foundLine])
  useEffect(() => setAt(0), [search])

  const link = (n: number): void => {
    const next = new URLSearchParams(query)
    next.set("line", String(n))
    next.delete("t")
    setQuery(next)
    setFollowing(false)
  }

  const pick = (atMs: number, signal?: AbortSignal): void => {
    lineAt(run.id, source, total, atMs, signal).then(
      (n) => {
        if (signal?.aborted) return
        link(n)
        jump(n)
      },
      (failed: unknown) => {
        if (!isAbort(failed)) lines.retry()
      },
    )
  }
  useEffect(() => {
    if (!isLoaded || !Number.isFinite(wantedMs)) return
    const abort = new AbortController()
    pick(wantedMs, abort.signal)
    return () => abort.abort()
    // Asked for once a time; lines that come later change nothing.
  }, [isLoaded, wantedMs])

  if (lines.isFirstLoad) {
    if (lines.error) {
      return <Failed what="The console could not be read" error={lines.error} onRetry={lines.retry} />
    }
    return <Loading rows={12} />
  }
  if (total === 0) {
    return (
      <Empty>
        Nothing this run printed was kept. Weir keeps what a training prints, unless{" "}
        <code>WEIR_CAPTURE_CONSOLE=off</code> is set.
      </Empty>
    )
  }
  const behind = total - 1 - last
  return (
    <div className="w-console">
      <div className="w-toolbar">
        <SearchBox
          label="Search the console"
          value={search}
          onChange={setSearch}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || found.lines.length === 0) return
            const step = event.shiftKey ? -1 : 1
            setAt((at + step + found.lines.length) % found.lines.length)
          }}
        />
        {search && (
          <span className="w-found" role="status">
            {found.isAsking
              ? "…"
              : found.lines.length === 0
                ? "not found"
                : `${at + 1} of ${count(found.lines.length)}${found.isCut ? "+" : ""}`}
          </span>
        )}
        {found.lines.length > 0 && (
          <>
            <IconButton
              icon="chevronUp"
              label="Previous match"
              isSmall
              onClick={() => setAt((at - 1 + found.lines.length) % found.lines.length)}
            />
            <IconButton
              icon="chevronDown"
              label="Next match"
              isSmall
              onClick={() => setAt((at + 1) % found.lines.length)}
            />
          </>
        )}
        <GoToLine
          total={total}
          onGo={(n) => {
            link(n)
            jump(n)
          }}
        />
        <Sources sources={lines.sources} chosen={source} onChoose={setSource} />
        <Checkbox label="Wrap" isChecked={isWrapped} onChange={setWrapped} />
        <Checkbox label="Times" isChecked={hasTimes} onChange={setTimes} />
        {run.n_metrics > 0 && <Checkbox label="Chart" isChecked={hasChart} onChange={setChart} />}
        {isLive(run) && (
          <Checkbox label="Follow" isChecked={isFollowing} onChange={setFollowing} />
        )}
        <span className="w-secondary w-console-count">
          {count(total)} lines
          {lines.dropped > 0 && `, ${count(lines.dropped)} of the middle not kept`}
        </span>
        <Download runId={run.id} source={source} total={total} name={run.name || run.id} />
      </div>
      {hasChart && (
        <ConsoleChart
          run={run}
          markMs={lines.at(foundLine ?? linked)?.at_ms ?? null}
          onPick={(atMs) => pick(atMs)}
        />
      )}
      {lines.error && (
        <Failed what="New lines could not be read" error={lines.error} onRetry={lines.retry} />
      )}
      <div
        ref={box}
        className={`w-lines${isWrapped ? " w-lines-wrapped" : ""}`}
        tabIndex={0}
        role="log"
        aria-label="Console"
        aria-live="off"
        onWheel={(event) => {
          if (event.deltaY < 0) setFollowing(false)
        }}
        onKeyDown={(event) => {
          if (["ArrowUp", "PageUp", "Home"].includes(event.key)) setFollowing(false)
          if (event.key === "End") setFollowing(true)
        }}
      >
        <div className="w-lines-all" style={{ height: virtual.getTotalSize() }}>
          {items.map((item) => {
            const line = lines.at(item.index)
            const isErr = line?.stream === "stderr"
            const isMarked = item.index === foundLine || item.index === linked
            return (
              <div
                key={item.index}
                data-index={item.index}
                ref={isWrapped ? virtual.measureElement : undefined}
                className={`w-line${isErr ? " w-line-err" : ""}${isMarked ? " w-line-marked" : ""}`}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                {/* By keyboard: the field above. Such a dense row is no target for a finger. */}
                <span className="w-line-number" onClick={() => link(item.index)}>
                  {item.index}
                </span>
                {hasTimes && (
                  <span className="w-line-time" onClick={() => link(item.index)}>
                    {line ? dateTime(line.at_ms).slice(11) : ""}
                  </span>
                )}
                {isErr && <span className="w-hidden-text">stderr: </span>}
                <span className="w-line-text">
                  {line ? <AnsiLine text={line.text} mark={search} /> : " "}
                </span>
              </div>
            )
          })}
        </div>
      </div>
      {isLive(run) && !isFollowing && behind > 0 && (
        <Button kind="primary" isSmall className="w-console-new" onClick={() => setFollowing(true)}>
          {count(behind)} lines below ↓
        </Button>
      )}
    </div>
  )
}

function GoToLine({ total, onGo }: { total: number; onGo: (n: number) => void }) {
  const [text, setText] = useState("")
  const n = /^\d{1,9}$/.test(text.trim()) ? Number(text) : null
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (n !== null && n < total) onGo(n)
      }}
    >
      <input
        className="w-input w-console-line"
        aria-label="Go to line"
        placeholder="Line"
        inputMode="numeric"
        value={text}
        aria-invalid={text !== "" && (n === null || n >= total)}
        onChange={(event) => setText(event.target.value)}
      />
    </form>
  )
}

function Sources({
  sources,
  chosen,
  onChoose,
}: {
  sources: readonly ConsoleSource[]
  chosen: string | null
  onChoose: (source: string) => void
}) {
  if (sources.length < 2) return null
  return (
    <select
      className="w-input"
      aria-label="Process"
      value={chosen ?? sources[0]?.source ?? ""}
      onChange={(event) => onChoose(event.target.value)}
    >
      {sources.map((one) => (
        <option key={one.source} value={one.source}>
          {visible(one.node, 60)}
          {one.rank !== null && ` · rank ${one.rank}`} · process {one.pid}
        </option>
      ))}
    </select>
  )
}

interface Found {
  lines: number[]
  isCut: boolean
  isAsking: boolean
}

/** The numbers of the lines that hold a text, as the server finds them. */
function useFound(runId: string, source: string | null, search: string): Found {
  const [found, setFound] = useState<Found>({ lines: [], isCut: false, isAsking: false })
  useEffect(() => {
    if (!search) {
      setFound({ lines: [], isCut: false, isAsking: false })
      return
    }
    const abort = new AbortController()
    setFound((before) => ({ ...before, isAsking: true }))
    const timer = window.setTimeout(() => {
      call<ConsoleAnswer>(
        "console",
        { run_id: runId, ...(source && { source }), first: 0, n: MOST_FOUND, search },
        { signal: abort.signal },
      ).then(
        ({ lines }) =>
          setFound({
            lines: lines.map((line) => line.n),
            isCut: lines.length >= MOST_FOUND,
            isAsking: false,
          }),
        (failed: unknown) => {
          if (!isAbort(failed)) setFound({ lines: [], isCut: false, isAsking: false })
        },
      )
    }, SEARCH_WAIT_MS)
    return () => {
      window.clearTimeout(timer)
      abort.abort()
    }
  }, [runId, source, search])
  return found
}

function Download({
  runId,
  source,
  total,
  name,
}: {
  runId: string
  source: string | null
  total: number
  name: string
}) {
  const [done, setDone] = useState<number | null>(null)
  const [error, setError] = useState<string | null>(null)
  const download = async (): Promise<void> => {
    const parts: string[] = []
    setError(null)
    try {
      for (let first = 0; first < total; first += DOWNLOAD_LINES) {
        setDone(first)
        const { lines } = await call<ConsoleAnswer>("console", {
          run_id: runId,
          ...(source && { source }),
          first,
          n: DOWNLOAD_LINES,
        })
        parts.push(...lines.map((line) => `${withoutAnsi(line.text)}\n`))
      }
      saveFile(new Blob(parts, { type: "text/plain" }), `${fileName(name)}.log`)
    } catch (failed) {
      setError(failed instanceof Error ? failed.message : String(failed))
    } finally {
      setDone(null)
    }
  }
  return (
    <>
      <Button isSmall icon="download" disabled={done !== null} onClick={() => void download()}>
        {done === null ? "Download" : `${Math.round((100 * done) / total)} %`}
      </Button>
      {error && (
        <span role="alert" className="w-text-bad">
          {error}
        </span>
      )}
    </>
  )
}
