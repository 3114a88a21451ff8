import { useId, useState } from "react"

import { bytes, count } from "../text/format"
import { visible } from "../text/visible"
import type { Change, FileDiff, Hunk } from "./diff"

const LINES_FIRST = 1_000
const FILES_FIRST = 200
const OPEN_BELOW = 400
const LONGEST = 2_000

/** A patch: its files at the left, their changes at the right. */
export function DiffView({ files }: { files: readonly FileDiff[] }) {
  const id = useId()
  const shown = files.slice(0, FILES_FIRST)
  const lines = files.reduce((sum, file) => sum + file.added + file.deleted, 0)
  return (
    <div className="w-diff">
      <nav className="w-diff-tree" aria-label="Changed files">
        <p className="w-secondary">
          {count(files.length)} {files.length === 1 ? "file" : "files"},{" "}
          <Counts added={sumOf(files, "added")} deleted={sumOf(files, "deleted")} />
        </p>
        <ul>
          {shown.map((file, at) => (
            <li key={`${file.path}:${at}`}>
              <button
                type="button"
                className="w-diff-name"
                title={visible(file.path, 300)}
                onClick={() => reveal(`${id}-${at}`)}
              >
                <bdi className="w-cut">{visible(file.path, 300)}</bdi>
                {!file.isBinary && <Counts added={file.added} deleted={file.deleted} />}
              </button>
            </li>
          ))}
        </ul>
        {files.length > shown.length && (
          <p className="w-secondary">{count(files.length - shown.length)} more are not shown.</p>
        )}
      </nav>
      <div className="w-diff-files">
        {shown.map((file, at) => (
          <FileView key={`${file.path}:${at}`} id={`${id}-${at}`} file={file} isOpen={lines < OPEN_BELOW || files.length < 6} />
        ))}
      </div>
    </div>
  )
}

function sumOf(files: readonly FileDiff[], what: "added" | "deleted"): number {
  return files.reduce((sum, file) => sum + file[what], 0)
}

function reveal(id: string): void {
  const file = document.getElementById(id)
  if (!(file instanceof HTMLDetailsElement)) return
  file.open = true
  file.scrollIntoView({ block: "start" })
  file.querySelector("summary")?.focus({ preventScroll: true })
}

function Counts({ added, deleted }: { added: number; deleted: number }) {
  return (
    <span className="w-diff-counts">
      <span className="w-text-ok">+{count(added)}</span>{" "}
      <span className="w-text-bad">−{count(deleted)}</span>
    </span>
  )
}

const CHANGES: Record<FileDiff["change"], string> = {
  changed: "",
  added: "added",
  deleted: "deleted",
  renamed: "renamed",
  mode: "mode changed",
}

function FileView({ id, file, isOpen }: { id: string; file: FileDiff; isOpen: boolean }) {
  const [isAll, setAll] = useState(false)
  const total = file.hunks.reduce((sum, hunk) => sum + hunk.lines.length, 0)
  let left = isAll ? Number.POSITIVE_INFINITY : LINES_FIRST
  return (
    <details id={id} className="w-diff-file" open={isOpen}>
      <summary>
        <code>
          {file.change === "renamed" && `${visible(file.oldPath, 300)} → `}
          {visible(file.path, 300)}
        </code>{" "}
        {CHANGES[file.change] && <span className="w-badge">{CHANGES[file.change]}</span>}
        {file.isBinary && (
          <span className="w-badge">
            binary{file.binarySizes.length > 0 && ` · ${file.binarySizes.map(bytes).join(" ← ")}`}
          </span>
        )}
        {!file.isBinary && <Counts added={file.added} deleted={file.deleted} />}
      </summary>
      {!file.isBinary && (
        <div className="w-diff-scroll" tabIndex={0} role="group" aria-label={`Changes of ${visible(file.path, 100)}`}>
          <table className="w-diff-table">
            {file.hunks.map((hunk, at) => {
              if (left <= 0) return null
              const lines = hunk.lines.slice(0, left)
              left -= lines.length
              // biome-ignore lint: a hunk has no identity but its place
              return <HunkLines key={at} hunk={{ ...hunk, lines }} />
            })}
          </table>
        </div>
      )}
      {!isAll && total > LINES_FIRST && (
        <button type="button" className="w-more" onClick={() => setAll(true)}>
          {count(total - LINES_FIRST)} more lines
        </button>
      )}
    </details>
  )
}

const SIDES = { "+": "w-diff-add", "-": "w-diff-del", " ": "", "\\": "w-secondary" }
const NAMES = { "+": "added", "-": "deleted", " ": "", "\\": "" }

function HunkLines({ hunk }: { hunk: Hunk }) {
  return (
    <tbody>
      <tr className="w-diff-head">
        <td />
        <td />
        <td colSpan={2}>{visible(hunk.header, 200) || "…"}</td>
      </tr>
      {hunk.lines.map((line, at) => (
        // biome-ignore lint: a line has no identity but its place
        <tr key={at} className={SIDES[line.kind]}>
          <td className="w-diff-number">{line.before}</td>
          <td className="w-diff-number">{line.after}</td>
          <td className="w-diff-side">
            {line.kind.trim()}
            {NAMES[line.kind] && <span className="w-hidden-text"> {NAMES[line.kind]}</span>}
          </td>
          <td className="w-diff-text">{visible(line.text, LONGEST)}</td>
        </tr>
      ))}
    </tbody>
  )
}

/** Lines that were added, deleted or kept, without numbers. */
export function ChangeLines({ changes }: { changes: readonly Change[] }) {
  const shown = changes.slice(0, LINES_FIRST)
  return (
    <div className="w-diff-scroll" tabIndex={0} role="group" aria-label="Changed lines">
      <table className="w-diff-table">
        <tbody>
          {shown.map((change, at) => (
            // biome-ignore lint: a line has no identity but its place
            <tr key={at} className={SIDES[change.kind]}>
              <td className="w-diff-side">
                {change.kind.trim()}
                {NAMES[change.kind] && <span className="w-hidden-text"> {NAMES[change.kind]}</span>}
              </td>
              <td className="w-diff-text">{visible(change.text, LONGEST)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {changes.length > shown.length && (
        <p className="w-secondary">{count(changes.length - shown.length)} more lines.</p>
      )}
    </div>
  )
}
