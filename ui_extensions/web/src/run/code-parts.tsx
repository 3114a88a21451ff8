import "./code.css"

import type { ReactNode } from "react"
import { useMemo, useState } from "react"

import { Button } from "../controls/button"
import { CopyButton } from "../controls/copy"
import { ForeignLink } from "../layout/link"
import { bytes, count } from "../text/format"
import { visible } from "../text/visible"
import { parsePatch } from "./diff"
import { DiffView } from "./diff-view"
import type { RunFacts } from "./facts"
import { tag } from "./facts"

export interface GitState {
  root?: string
  commit?: string
  branch?: string
  tags?: string[]
  remote?: string
  is_dirty?: boolean
  ahead?: number | null
  behind?: number | null
  left_out?: Record<string, string>
  n_redacted?: number
  faults?: string[]
}

export interface Environment {
  argv?: string[]
  working_directory?: string
  executable?: string
  python?: string
  platform?: string
  host?: string
  cpu?: { model?: string; logical?: number; usable?: number }
  memory_bytes?: { total?: number | null; limit?: number | null }
  container?: string
  variables?: Record<string, string>
}

export interface CodeAnswer {
  state: GitState | null
  patch: { text: string; is_cut: boolean } | null
  upstream: { text: string; is_cut: boolean } | null
  untracked: string[]
  environment: Environment | null
  requirements: string[]
  tags: Record<string, string>
}

/** The commit, and how the files differed from it. */
export function GitFacts({
  run,
  code,
  children,
}: {
  run: RunFacts
  code: CodeAnswer
  /** Below the commit. */
  children?: ReactNode
}) {
  const { state } = code
  const commit = state?.commit || code.tags["weir.git.commit"] || tag(run, "mlflow.source.git.commit")
  if (!commit) {
    return <p className="w-secondary">Not a git checkout{faultText(state?.faults)}.</p>
  }
  const remote = state?.remote || code.tags["weir.git.remote"] || ""
  const distance = [
    state?.ahead ? `${count(state.ahead)} ahead` : "",
    state?.behind ? `${count(state.behind)} behind` : "",
  ]
    .filter(Boolean)
    .join(", ")
  const redacted = Number(tag(run, "weir.redacted") ?? state?.n_redacted ?? 0)
  return (
    <section aria-labelledby="w-git" className="w-code-git">
      <h2 id="w-git" className="w-section-title">
        Commit
      </h2>
      <div className="w-row">
        <code className="w-code-commit">{visible(commit, 64)}</code>
        <CopyButton text={commit} label="Copy the commit" />
        {state?.branch && <span className="w-badge">{visible(state.branch, 100)}</span>}
        {(state?.tags ?? []).slice(0, 10).map((name) => (
          <span key={name} className="w-badge">
            {visible(name, 60)}
          </span>
        ))}
        <span className={`w-badge ${state?.is_dirty ? "w-badge-warn" : "w-badge-ok"}`}>
          {state?.is_dirty ? "changed" : "clean"}
        </span>
        {distance && <span className="w-secondary">{distance} of its upstream</span>}
        {redacted > 0 && (
          <span className="w-badge w-badge-warn">
            {count(redacted)} {redacted === 1 ? "value" : "values"} redacted
          </span>
        )}
      </div>
      {remote && (
        <div>
          <ForeignLink to={remote}>{visible(remote, 300)}</ForeignLink>
        </div>
      )}
      {children}
      {state?.faults && state.faults.length > 0 && (
        <p className="w-secondary">Not found out{faultText(state.faults)}.</p>
      )}
    </section>
  )
}

function faultText(faults: string[] | undefined): string {
  return faults && faults.length > 0 ? `: ${visible(faults.join("; "), 500)}` : ""
}

/** The changes since the commit, file by file. */
export function Patch({ code }: { code: CodeAnswer }) {
  const [which, setWhich] = useState<"patch" | "upstream">("patch")
  const chosen = which === "upstream" ? code.upstream : code.patch
  const files = useMemo(() => (chosen ? parsePatch(chosen.text) : []), [chosen])
  const leftOut = Object.entries(code.state?.left_out ?? {})
  return (
    <section aria-labelledby="w-patch">
      <div className="w-section-head">
        <h2 id="w-patch" className="w-section-title">
          {which === "patch" ? "Changes since the commit" : "Changes since the newest pushed commit"}
        </h2>
        {code.upstream && (
          <Button isSmall onClick={() => setWhich(which === "patch" ? "upstream" : "patch")}>
            {which === "patch" ? "Since the newest pushed commit" : "Since the commit"}
          </Button>
        )}
      </div>
      {files.length > 0 ? (
        <DiffView files={files} />
      ) : (
        <p className="w-secondary">
          {code.state?.is_dirty ? "The patch was not kept." : "None: the files were as committed."}
        </p>
      )}
      {chosen?.is_cut && <p className="w-secondary">The patch is longer than what is shown.</p>}
      {code.untracked.length > 0 && (
        <details>
          <summary>
            {count(code.untracked.length)} {code.untracked.length === 1 ? "file" : "files"} that git does not know
          </summary>
          <ul className="w-code-names">
            {code.untracked.slice(0, 1_000).map((name) => (
              <li key={name}>
                <code>{visible(name, 300)}</code>
              </li>
            ))}
          </ul>
        </details>
      )}
      {leftOut.length > 0 && (
        <details>
          <summary>{count(leftOut.length)} changed {leftOut.length === 1 ? "file" : "files"} left out</summary>
          <ul className="w-code-names">
            {leftOut.slice(0, 1_000).map(([name, why]) => (
              <li key={name}>
                <code>{visible(name, 300)}</code>{" "}
                <span className="w-secondary">{visible(String(why), 200)}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  )
}

/** A command line as a shell takes it. */
export function shellWords(argv: readonly unknown[]): string {
  return argv
    .map(String)
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ")
}

/** The command, and the machine it ran on. */
export function EnvironmentFacts({ environment }: { environment: Environment | null }) {
  if (!environment) return null
  const argv = Array.isArray(environment.argv) ? shellWords(environment.argv) : ""
  const variables = Object.entries(environment.variables ?? {})
  const cpu = environment.cpu
  const memory = environment.memory_bytes
  const rows: [string, string][] = [
    ["Folder", environment.working_directory ?? ""],
    ["Python", [environment.python, environment.executable].filter(Boolean).join(" · ")],
    ["System", environment.platform ?? ""],
    ["Machine", environment.host ?? ""],
    ["Processor", cpu ? `${cpu.model ?? ""} · ${cpu.usable ?? "?"} of ${cpu.logical ?? "?"}` : ""],
    [
      "Memory",
      memory ? `${bytes(memory.limit ?? memory.total)}${memory.limit ? " at most" : ""}` : "",
    ],
    ["Container", environment.container ?? ""],
  ]
  return (
    <section aria-labelledby="w-environment">
      <h2 id="w-environment" className="w-section-title">
        Command and environment
      </h2>
      {argv && (
        <div className="w-code-command">
          <pre>{visible(argv, 10_000)}</pre>
          <CopyButton text={argv} label="Copy the command line" />
        </div>
      )}
      <table className="w-kv w-kv-facts">
        <tbody>
          {rows
            .filter(([, value]) => value)
            .map(([name, value]) => (
              <tr key={name}>
                <th scope="row" className="w-secondary">
                  {name}
                </th>
                <td>{visible(value, 500)}</td>
              </tr>
            ))}
          {variables.slice(0, 200).map(([name, value]) => (
            <tr key={`$${name}`}>
              <th scope="row">
                <code>{visible(name, 100)}</code>
              </th>
              <td>
                <code>{visible(String(value), 500)}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

/** The packages, folded. */
export function Requirements({ lines }: { lines: string[] }) {
  if (lines.length === 0) return null
  return (
    <section aria-labelledby="w-packages">
      <details>
        <summary>
          <h2 id="w-packages" className="w-section-title">
            Packages <span className="w-secondary">{count(lines.length)}</span>
          </h2>
        </summary>
        <CopyButton isWorded text={lines.join("\n")} label="Copy as requirements.txt" />
        <ul className="w-code-packages">
          {lines.slice(0, 2_000).map((line) => (
            <li key={line}>
              <code>{visible(line, 300)}</code>
            </li>
          ))}
        </ul>
      </details>
    </section>
  )
}
