import "./files.css"

import { Suspense, useState } from "react"

import { useAnswer, useAsked } from "../api/use-answer"
import { Button } from "../controls/button"
import { Icon } from "../controls/icon"
import { later } from "../controls/later"
import { Empty, Failed, Loading, StateOf } from "../controls/state"
import { StockLink } from "../layout/stock-link"
import { setQuery, useRoute } from "../router"
import { bytes, count } from "../text/format"
import { visible } from "../text/visible"
import type { FileEntry } from "./artifact"
import { parseCsv, PICTURE, readFile, readText, useObjectAddress } from "./artifact"
import type { RunFacts } from "./facts"
import type { TabProps } from "./tab-props"
import { fileName, saveFile } from "./save"

const Markdown = later(async () => (await import("../text/markdown")).Markdown)
const CSV_ROWS = 500
const CSV_COLUMNS = 50
const MOST_CHARACTERS = 200_000

interface FilesAnswer {
  entries: FileEntry[]
  is_cut: boolean
}

/** A run's artifacts: a tree, and a look at what is chosen. MLflow's own page does the rest. */
export function Files({ run }: TabProps) {
  const { query } = useRoute()
  const chosen = query.get("file")
  const choose = (path: string): void => {
    const next = new URLSearchParams(query)
    next.set("file", path)
    setQuery(next)
  }
  return (
    <div className="w-files">
      <nav className="w-files-tree" aria-label="Files">
        <Folder run={run} path="" chosen={chosen} onChoose={choose} />
      </nav>
      <section className="w-files-preview" aria-label="Preview">
        {chosen === null ? (
          <Empty>Choose a file to look at.</Empty>
        ) : (
          <Preview key={chosen} run={run} path={chosen} />
        )}
      </section>
    </div>
  )
}

function Folder({
  run,
  path,
  chosen,
  onChoose,
}: {
  run: RunFacts
  path: string
  chosen: string | null
  onChoose: (path: string) => void
}) {
  const answer = useAnswer<FilesAnswer>("files", { run_id: run.id, path })
  return (
    <StateOf
      answer={answer}
      what="The files could not be listed"
      loading={<Loading rows={path ? 2 : 6} />}
      isEmpty={(data) => data.entries.length === 0}
      empty={<p className="w-secondary">{path ? "Empty." : "This run has no files."}</p>}
    >
      {({ entries, is_cut }) => (
        <ul className="w-files-list">
          {entries.map((entry) => (
            <li key={entry.path}>
              {entry.is_folder ? (
                <SubFolder run={run} entry={entry} chosen={chosen} onChoose={onChoose} />
              ) : (
                <button
                  type="button"
                  className="w-files-name"
                  aria-current={entry.path === chosen ? "true" : undefined}
                  title={visible(nameOf(entry.path), 300)}
                  onClick={() => onChoose(entry.path)}
                >
                  <Icon name="file" />
                  <span className="w-cut">{visible(nameOf(entry.path), 300)}</span>
                  <span className="w-files-size">{bytes(entry.size)}</span>
                </button>
              )}
            </li>
          ))}
          {is_cut && <li className="w-secondary">More than 10,000: the rest is not listed.</li>}
        </ul>
      )}
    </StateOf>
  )
}

function SubFolder({
  run,
  entry,
  chosen,
  onChoose,
}: {
  run: RunFacts
  entry: FileEntry
  chosen: string | null
  onChoose: (path: string) => void
}) {
  const [isOpen, setOpen] = useState(chosen?.startsWith(`${entry.path}/`) ?? false)
  return (
    <>
      <button
        type="button"
        className="w-files-name"
        aria-expanded={isOpen}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name={isOpen ? "chevronDown" : "chevronRight"} />
        <span className="w-cut">{visible(nameOf(entry.path), 300)}</span>
      </button>
      {isOpen && <Folder run={run} path={entry.path} chosen={chosen} onChoose={onChoose} />}
    </>
  )
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1)
}

function Preview({ run, path }: { run: RunFacts; path: string }) {
  const isPicture = PICTURE.test(path)
  return (
    <>
      <div className="w-section-head">
        <h2 className="w-section-title w-files-path">{visible(path, 500)}</h2>
        <div className="w-row">
          <Download run={run} path={path} />
          <StockLink
            to={`/experiments/${run.experiment_id}/runs/${run.id}/artifacts/${path
              .split("/")
              .map(encodeURIComponent)
              .join("/")}`}
          >
            In MLflow's artifacts
          </StockLink>
        </div>
      </div>
      {isPicture ? <Picture run={run} path={path} /> : <Text run={run} path={path} />}
    </>
  )
}

function Download({ run, path }: { run: RunFacts; path: string }) {
  const [fault, setFault] = useState("")
  const [isBusy, setBusy] = useState(false)
  const download = async (): Promise<void> => {
    setBusy(true)
    setFault("")
    try {
      saveFile(await readFile(run.id, path), fileName(nameOf(path)))
    } catch (failure) {
      setFault(failure instanceof Error ? failure.message : String(failure))
    } finally {
      setBusy(false)
    }
  }
  return (
    <>
      <Button isSmall icon="download" disabled={isBusy} onClick={() => void download()}>
        Download
      </Button>
      {fault && (
        <span role="alert" className="w-text-bad">
          Not saved: {visible(fault, 200)}
        </span>
      )}
    </>
  )
}

function Picture({ run, path }: { run: RunFacts; path: string }) {
  const { address, error } = useObjectAddress(run.id, path)
  if (error) return <Failed what="The picture could not be read" error={error} />
  if (!address) return <Loading rows={4} />
  return <img className="w-files-picture" src={address} alt={visible(nameOf(path), 200)} />
}

function Text({ run, path }: { run: RunFacts; path: string }) {
  const answer = useAsked(`${run.id}/${path}`, (options) => readText(run.id, path, options))
  return (
    <StateOf answer={answer} what="The file could not be read">
      {({ text, isBinary, isCut }) => {
        if (isBinary) {
          return <Empty>This file is no text.</Empty>
        }
        return (
          <>
            {isCut && <p className="w-secondary">Its first {bytes(text.length)}.</p>}
            <TextView path={path} text={text} isCut={isCut} />
          </>
        )
      }}
    </StateOf>
  )
}

function TextView({ path, text, isCut }: { path: string; text: string; isCut: boolean }) {
  const end = path.slice(path.lastIndexOf(".") + 1).toLowerCase()
  if (end === "md" || end === "markdown") {
    return (
      <Suspense fallback={<Loading />}>
        <Markdown text={text} />
      </Suspense>
    )
  }
  if (end === "csv") return <Csv text={text} />
  return <pre className="w-pre w-files-text">{visible(pretty(end, text, isCut), MOST_CHARACTERS)}</pre>
}

function pretty(end: string, text: string, isCut: boolean): string {
  if (end !== "json" || isCut) return text
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

function Csv({ text }: { text: string }) {
  const [head = [], ...rows] = parseCsv(text, { rows: CSV_ROWS + 1, columns: CSV_COLUMNS })
  return (
    <div className="w-files-table" tabIndex={0} role="group" aria-label="Table">
      <table className="w-kv">
        <thead>
          <tr>
            {head.map((cell, at) => (
              // biome-ignore lint: a column has no identity but its place
              <th key={at} scope="col">
                {visible(cell, 200)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            // biome-ignore lint: a row has no identity but its place
            <tr key={at}>
              {row.map((cell, column) => (
                // biome-ignore lint: a cell has no identity but its place
                <td key={column}>{visible(cell, 500)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length >= CSV_ROWS && <p className="w-secondary">The first {count(CSV_ROWS)} rows.</p>}
    </div>
  )
}
