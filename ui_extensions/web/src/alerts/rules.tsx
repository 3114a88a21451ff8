import { useState } from "react"

import { call } from "../api/client"
import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import { HeadedTable } from "../controls/headed-table"
import { Empty, Failed, StateOf } from "../controls/state"
import { useDeed } from "../teams/parts"
import { ago, dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { Level, Rule, RuleKind, Rules, Target } from "./api"
import { LEVEL_BADGES } from "./api"

const KINDS: Readonly<Record<RuleKind, string>> = {
  alert: "its training raises one",
  finished: "a run has finished",
  failed: "a run has failed",
  crashed: "a run has crashed",
  metric: "a metric was beyond a value",
  nan: "a metric is NaN or infinite",
  silence: "a run logs nothing any more",
}
const OPERATORS = [">", ">=", "<", "<="] as const
const LEVELS: readonly Level[] = ["info", "warning", "error"]

/** Rules: what of the runs is an alert, and to whom it goes. */
export function RulesTab({ experimentId, targets }: { experimentId: string | null; targets: readonly Target[] }) {
  const of = experimentId === null ? {} : { experiment_id: experimentId }
  const answer = useAnswer<Rules>("alerts/rules", of)
  return (
    <StateOf answer={answer} what="The rules could not be listed">
      {({ rules, may_edit }) => (
        <>
          {may_edit && <NewRule of={of} targets={targets} onAdded={answer.retry} />}
          {!may_edit && (
            <p className="w-secondary">
              {experimentId === null
                ? "Rules for all experiments are an administrator’s to change."
                : "Who may edit this experiment changes its rules."}
            </p>
          )}
          {rules.length === 0 ? (
            <Empty>
              {experimentId === null ? "There is no rule for all experiments." : "There is no rule for this experiment."}
            </Empty>
          ) : (
            <HeadedTable heads={["When", "Level", "Sent to", "Of", "Made"]}>
              {rules.map((rule) => (
                <Row
                  key={rule.id}
                  rule={rule}
                  targets={targets}
                  // One for all is changed where all are.
                  mayEdit={may_edit && rule.experiment_id === experimentId}
                  onChanged={answer.retry}
                />
              ))}
            </HeadedTable>
          )}
        </>
      )}
    </StateOf>
  )
}

function Row({
  rule,
  targets,
  mayEdit,
  onChanged,
}: {
  rule: Rule
  targets: readonly Target[]
  mayEdit: boolean
  onChanged: () => void
}) {
  const { isBusy, fault, run } = useDeed()
  const change = (action: "pause" | "resume" | "delete"): void =>
    run(async () => {
      await call("alerts/rules/change", { id: rule.id, action })
      onChanged()
    })
  const names = rule.targets.map((id) => visible(targets.find((one) => one.id === id)?.name ?? "(deleted)", 100))
  return (
    <tr>
      <th scope="row" data-head="When">
        <span className="w-teams-name" dir="auto">
          {visible(rule.what, 300)}
        </span>
        {rule.is_paused && <span className="w-badge w-badge-warn">Paused</span>}
        {fault && <Failed what="That was not done" error={fault} />}
      </th>
      <td data-head="Level">
        <span className={`w-badge${LEVEL_BADGES[rule.level]}`}>{rule.level}</span>
      </td>
      <td data-head="Sent to">
        <span className="w-teams-name">{names.join(", ") || "nobody: the run’s page shows it"}</span>
      </td>
      <td data-head="Of">{rule.experiment_id === null ? "all experiments" : "this experiment"}</td>
      <td data-head="Made" title={dateTime(rule.created_ms)}>
        {ago(rule.created_ms)}
        {rule.created_by && ` by ${visible(rule.created_by, 60)}`}
      </td>
      <td className="w-teams-actions">
        {mayEdit && (
          <>
            <Button isSmall disabled={isBusy} onClick={() => change(rule.is_paused ? "resume" : "pause")}>
              {rule.is_paused ? "Resume" : "Pause"}
            </Button>
            <Button isSmall icon="trash" disabled={isBusy} onClick={() => change("delete")}>
              Delete
            </Button>
          </>
        )}
      </td>
    </tr>
  )
}

function NewRule({
  of,
  targets,
  onAdded,
}: {
  of: { experiment_id?: string }
  targets: readonly Target[]
  onAdded: () => void
}) {
  const { isBusy, fault, run } = useDeed()
  const [kind, setKind] = useState<RuleKind>("crashed")
  const [metric, setMetric] = useState("")
  const [op, setOp] = useState<(typeof OPERATORS)[number]>(">")
  const [value, setValue] = useState("")
  const [minutes, setMinutes] = useState("30")
  const [level, setLevel] = useState<Level | "">("")
  const [to, setTo] = useState<readonly string[]>([])
  const needsMetric = kind === "metric"
  const number = Number(value)
  const isWhole =
    (!needsMetric || (metric.trim() !== "" && value.trim() !== "" && Number.isFinite(number))) &&
    (kind !== "silence" || Number(minutes) > 0)
  return (
    <form
      className="w-teams-form"
      aria-label="Add a rule"
      onSubmit={(event) => {
        event.preventDefault()
        run(async () => {
          await call("alerts/rules/change", {
            action: "add",
            ...of,
            kind,
            targets: to,
            ...(level === "" ? {} : { level }),
            ...(needsMetric ? { metric: metric.trim(), op, value: number } : {}),
            ...(kind === "nan" && metric.trim() !== "" ? { metric: metric.trim() } : {}),
            ...(kind === "silence" ? { seconds: Number(minutes) * 60 } : {}),
          })
          setMetric("")
          setValue("")
          onAdded()
        })
      }}
    >
      <label>
        When{" "}
        <select className="w-input" value={kind} onChange={(event) => setKind(event.target.value as RuleKind)}>
          {Object.entries(KINDS).map(([id, words]) => (
            <option key={id} value={id}>
              {words}
            </option>
          ))}
        </select>
      </label>
      {(needsMetric || kind === "nan") && (
        <input
          className="w-input"
          aria-label="Metric"
          placeholder={needsMetric ? "Metric" : "Any metric"}
          maxLength={250}
          spellCheck={false}
          value={metric}
          onChange={(event) => setMetric(event.target.value)}
        />
      )}
      {needsMetric && (
        <>
          <select
            className="w-input"
            aria-label="Is"
            value={op}
            onChange={(event) => setOp(event.target.value as (typeof OPERATORS)[number])}
          >
            {OPERATORS.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
          <input
            className="w-input w-alerts-number"
            aria-label="Value"
            inputMode="decimal"
            placeholder="Value"
            value={value}
            aria-invalid={value.trim() !== "" && !Number.isFinite(number)}
            onChange={(event) => setValue(event.target.value)}
          />
        </>
      )}
      {kind === "silence" && (
        <label>
          for{" "}
          <input
            className="w-input w-alerts-number"
            type="number"
            min={1}
            max={43_200}
            value={minutes}
            onChange={(event) => setMinutes(event.target.value)}
          />{" "}
          minutes
        </label>
      )}
      <label>
        as{" "}
        <select className="w-input" value={level} onChange={(event) => setLevel(event.target.value as Level | "")}>
          <option value="">{kind === "alert" ? "any level" : "its usual level"}</option>
          {LEVELS.map((one) => (
            <option key={one} value={one}>
              {kind === "alert" ? `${one} or above` : one}
            </option>
          ))}
        </select>
      </label>
      {targets.length > 0 && (
        <fieldset className="w-alerts-targets">
          <legend>Send it to</legend>
          {targets.map((one) => (
            <label key={one.id} className="w-check">
              <input
                type="checkbox"
                checked={to.includes(one.id)}
                onChange={(event) =>
                  setTo(event.target.checked ? [...to, one.id] : to.filter((id) => id !== one.id))
                }
              />
              {visible(one.name, 100)}
            </label>
          ))}
        </fieldset>
      )}
      <Button kind="primary" type="submit" disabled={isBusy || !isWhole}>
        Add the rule
      </Button>
      {fault && <Failed what="No rule was added" error={fault} />}
    </form>
  )
}
