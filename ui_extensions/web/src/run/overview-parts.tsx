import type { ReactNode } from "react"
import { useMemo } from "react"

import { useAnswer } from "../api/use-answer"
import { CopyButton } from "../controls/copy"
import { Icon } from "../controls/icon"
import { Empty } from "../controls/state"
import { ForeignLink, PlaceLink } from "../layout/link"
import { count, dateTime, duration, number } from "../text/format"
import { visible } from "../text/visible"
import { AnsiLine } from "./ansi-line"
import type { RunFacts, RunMetric } from "./facts"
import { isLive, metricNumber, tag } from "./facts"
import { Found, Pairs } from "./found-table"

const LAST_LINES = 20

/** Why a run that did not end well did not. */
export function CauseBanner({ run, children }: { run: RunFacts; children?: ReactNode }) {
  if (run.status !== "FAILED" && run.status !== "KILLED") return null
  // The header leaves the cause to this banner.
  const cause = tag(run, "weir.exit_cause")
  const traceback = tag(run, "weir.exit_traceback")
  return (
    <section className="w-banner w-banner-bad" aria-label="Why it ended">
      <Icon name="error" />
      <div>
        <strong>{cause ? visible(cause, 1_000) : `${run.status}: nobody said why`}</strong>
        {!cause && (
          <p className="w-secondary">
            The process left no word and nobody of its machine saw it end. Runs that log through
            Weir's agent have a cause.
          </p>
        )}
        {traceback && (
          <details>
            <summary>Traceback</summary>
            <pre className="w-pre">{visible(traceback, 20_000)}</pre>
          </details>
        )}
        {children}
      </div>
    </section>
  )
}

// What there was no room for on the training's machine, by the tags that count it.
const DROPPED = [
  ["Points dropped", "weir.points_dropped"],
  ["Files dropped", "weir.artifacts_dropped"],
  ["Traces dropped", "weir.traces_dropped"],
] as const

/** When, by whom, where and of what code it ran: what is known of it. */
export function Facts({ run }: { run: RunFacts }) {
  const commit = tag(run, "weir.git.commit") ?? tag(run, "mlflow.source.git.commit")
  const remote = tag(run, "weir.git.remote")
  const redacted = tag(run, "weir.redacted")
  const rows: [string, React.ReactNode][] = [
    ["Started", dateTime(run.start_ms)],
    ["Ended", run.end_ms === null ? (isLive(run) ? "still running" : "unknown") : dateTime(run.end_ms)],
    ["Duration", duration((run.end_ms ?? run.now_ms) - (run.start_ms ?? run.now_ms))],
  ]
  const known: [string, string | null][] = [
    ["User", run.user],
    ["Machine", tag(run, "weir.host")],
    ["Program", tag(run, "mlflow.source.name")],
    ["Python", tag(run, "weir.python")],
  ]
  for (const [name, value] of known) if (value) rows.push([name, value])
  if (commit) {
    const branch = tag(run, "weir.git.branch")
    const isDirty = tag(run, "weir.git.dirty") === "true"
    rows.push([
      "Commit",
      <>
        <PlaceLink to={{ page: "run", runId: run.id, tab: "code" }}>
          <code>{visible(commit, 12)}</code>
        </PlaceLink>
        {branch && ` on ${visible(branch, 100)}`}
        {isDirty && <span className="w-badge w-badge-warn">changed</span>}
      </>,
    ])
  }
  if (remote) rows.push(["Repository", <ForeignLink to={remote}>{visible(remote, 200)}</ForeignLink>])
  for (const [name, what] of DROPPED) {
    const n = tag(run, what)
    if (n) rows.push([name, <span className="w-text-bad">{visible(n, 20)}</span>])
  }
  if (redacted) rows.push(["Secrets taken out", visible(redacted, 20)])
  rows.push([
    "Run id",
    <span className="w-with-copy">
      <code className="w-cut">{run.id}</code>
      <CopyButton text={run.id} label="Copy the run id" />
    </span>,
  ])
  return (
    <section aria-labelledby="w-facts">
      <div className="w-section-head">
        <h2 id="w-facts" className="w-section-title">
          About
        </h2>
      </div>
      <table className="w-kv">
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <th scope="row" className="w-secondary">
                {name}
              </th>
              <td>{typeof value === "string" ? visible(value, 300) : value}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

const metricText = (metric: RunMetric): string => metric.key

/** Its metrics but the hardware's, which has a tab of its own. */
export function Metrics({ run }: { run: RunFacts }) {
  // Hardware has a tab of its own.
  const metrics = useMemo(
    () => run.metrics.filter((metric) => !metric.key.startsWith("system/")),
    [run.metrics],
  )
  const hasExtremes = metrics.some((metric) => metric.min !== null)
  return (
    <Found
      id="w-metrics"
      title="Metrics"
      all={metrics}
      total={run.n_metrics - (run.metrics.length - metrics.length)}
      textOf={metricText}
      empty="No metric was logged."
      head={
        <tr>
          <th scope="col">Metric</th>
          <th scope="col" className="w-number">
            Latest
          </th>
          {hasExtremes && (
            <>
              <th scope="col" className="w-number">
                Min
              </th>
              <th scope="col" className="w-number">
                Max
              </th>
            </>
          )}
          <th scope="col" className="w-number">
            Step
          </th>
        </tr>
      }
      row={(metric) => (
        <tr key={metric.key}>
          <th scope="row">{visible(metric.key, 250)}</th>
          <Value of={metric.last} />
          {hasExtremes && (
            <>
              <Value of={metric.min} />
              <Value of={metric.max} />
            </>
          )}
          <td className="w-number">{count(metric.step)}</td>
        </tr>
      )}
    />
  )
}

/** Four digits to be read; all of them where the pointer rests, and copied. */
function Value({ of }: { of: RunMetric["last"] }) {
  const value = metricNumber(of)
  const exact = value === null ? undefined : String(value)
  return (
    <td className="w-number" title={exact} data-exact={exact}>
      {number(value, 4)}
    </td>
  )
}

/** Its params. */
export function Params({ run }: { run: RunFacts }) {
  const { params, n_params } = run
  return (
    <Pairs
      id="w-params"
      title="Params"
      noun="Param"
      all={params}
      total={n_params}
      empty="No param was logged."
    />
  )
}

interface ConsoleAnswer {
  lines: { n: number; at_ms: number; stream: string; text: string }[]
  total: number
}

/** The end of its console. */
export function LastLines({ run }: { run: RunFacts }) {
  const answer = useAnswer<ConsoleAnswer>("console", {
    run_id: run.id,
    first: -LAST_LINES,
    n: LAST_LINES,
  })
  const lines = answer.data?.lines ?? []
  if (answer.error) return null
  return (
    <section aria-labelledby="w-last-lines">
      <div className="w-section-head">
        <h2 id="w-last-lines" className="w-section-title">
          Console <span className="w-secondary">{answer.data && count(answer.data.total)}</span>
        </h2>
        {lines.length > 0 && (
          <PlaceLink to={{ page: "run", runId: run.id, tab: "console" }}>All lines</PlaceLink>
        )}
      </div>
      {answer.data && lines.length === 0 ? (
        <Empty>Nothing this run printed was kept.</Empty>
      ) : (
        <div className="w-lines w-lines-short">
          {lines.map((line) => (
            <div key={line.n} className={`w-line${line.stream === "stderr" ? " w-line-err" : ""}`}>
              <AnsiLine text={line.text.slice(0, 400)} />
            </div>
          ))}
        </div>
      )}
    </section>
  )
}
