import "./code.css"

import { useMemo, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import { CopyButton } from "../controls/copy"
import { Empty, Loading, StateOf } from "../controls/state"
import { ForeignLink } from "../layout/link"
import { bytes, count } from "../text/format"
import { visible } from "../text/visible"
import { CompareCode } from "./code-compare"
import { parsePatch } from "./diff"
import { DiffView } from "./diff-view"
import type { RunFacts } from "./facts"
import { tag } from "./facts"
import type { TabProps } from "./page"
import { RunPicker, useOtherRun } from "./run-picker"

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

/** What ran: commit, patch, command, environment, packages; and how another run's differed. */
export function Code({ run }: TabProps) {
  const answer = useAnswer<CodeAnswer>("code", { run_id: run.id })
  const [otherId, setOther] = useOtherRun(run)
  const other = useAnswer<RunFacts>(otherId ? "run" : null, { run_id: otherId })
  return (
    <StateOf
      answer={answer}
      what="The code could not be read"
      loading={<Loading rows={12} />}
      isEmpty={(code) => isBare(code, run)}
      empty={
        <Empty>
          Nothing was captured of this run's code: it was not begun by a script on a machine with
          Weir, or <code>WEIR_CAPTURE=off</code> was set.
        </Empty>
      }
    >
      {(code) => (
        <div className="w-code">
          <div className="w-toolbar">
            <RunPicker
              run={run}
              tab="code"
              otherId={otherId}
              otherName={other.data?.name ?? null}
              onChoose={setOther}
            />
          </div>
          {otherId ? (
            <CompareCode run={run} code={code} otherId={otherId} />
          ) : (
            <>
              <GitFacts run={run} code={code} />
              <Patch code={code} />
              <EnvironmentFacts environment={code.environment} />
              <Requirements lines={code.requirements} />
            </>
          )}
        </div>
      )}
    </StateOf>
  )
}

function isBare(code: CodeAnswer, run: RunFacts): boolean {
  const isCaptured = code.state || code.patch || code.environment || code.requirements.length > 0
  return !isCaptured && tag(run, "mlflow.source.git.commit") === null
}

function GitFacts({ run, code }: { run: RunFacts; code: CodeAnswer }) {
  const { state } = code
  const commit = state?.commit || code.tags["weir.git.commit"] || tag(run, "mlflow.source.git.commit")
  const restore = `weir restore ${run.id}`
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
      <div className="w-row w-code-restore">
        <span className="w-secondary">To have this code again:</span>
        <code>{restore}</code>
        <CopyButton text={restore} label="Copy the command" />
      </div>
      {state?.faults && state.faults.length > 0 && (
        <p className="w-secondary">Not found out{faultText(state.faults)}.</p>
      )}
    </section>
  )
}

function faultText(faults: string[] | undefined): string {
  return faults && faults.length > 0 ? `: ${visible(faults.join("; "), 500)}` : ""
}

function Patch({ code }: { code: CodeAnswer }) {
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

function EnvironmentFacts({ environment }: { environment: Environment | null }) {
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

function Requirements({ lines }: { lines: string[] }) {
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
