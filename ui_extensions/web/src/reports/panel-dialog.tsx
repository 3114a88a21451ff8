/** Making and changing a panel: which runs, and what of them. */

import { useId, useMemo, useState } from "react"

import { useAnswer } from "../api/use-answer"
import type { KeysAnswer } from "../charts/grid"
import type { CardLayout } from "../charts/types"
import { Button, Segments } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { Checkbox } from "../controls/input"
import { useRested } from "../controls/rested"
import { autoColumns, columnTitle } from "../runs/columns"
import type { KnownKeys, RunsAnswer } from "../runs/api"
import { SECTIONS } from "../runs/comparison"
import { KeyPicker } from "../share/key-picker"
import { count, dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { Panel, PanelKind, RunSet } from "./document"
import { PANEL_KINDS, PANEL_WORDS, runSet } from "./document"
import { filterOf } from "./panel-runs"

const MOST = [5, 10, 20, 50, 100, 200, 500, 1_000]
const MAX_CARDS = 24

function cardsOf(keys: readonly string[], before: readonly CardLayout[], isTogether: boolean): CardLayout[] {
  if (isTogether && keys.length > 1) {
    const known = before.find((card) => card.keys.length > 1)
    return [{ ...(known ?? { id: "together", kind: "line", w: 4, h: 18 }), keys: keys.slice(0, 40) }]
  }
  return keys.slice(0, MAX_CARDS).map((key) => {
    const known = before.find((card) => card.keys.length === 1 && card.keys[0] === key)
    return known ?? { id: key, kind: "line" as const, keys: [key], w: 1, h: 15 }
  })
}

export function PanelDialog({
  panel,
  experimentIds,
  onPanel,
  onClose,
}: {
  /** What is changed; null for a new one. */
  panel: Panel | null
  experimentIds: readonly string[]
  onPanel: (panel: Panel) => void
  onClose: () => void
}) {
  const [kind, setKind] = useState<PanelKind>(panel?.kind ?? "charts")
  const [title, setTitle] = useState(panel?.title ?? "")
  const [set, setSet] = useState<RunSet>(panel?.runs ?? runSet(experimentIds, { most: 20 }))
  const [keys, setKeys] = useState<readonly string[]>(panel?.cards?.flatMap((card) => card.keys) ?? [])
  const [isTogether, setTogether] = useState(panel?.cards?.some((card) => card.keys.length > 1) ?? false)
  const [columns, setColumns] = useState<readonly string[] | null>(panel?.columns ?? null)
  const [parts, setParts] = useState<readonly string[]>(panel?.parts ?? ["params", "metrics"])
  const [isBrief, setBrief] = useState(panel?.differences ?? true)
  const listId = useId()
  const metrics = useAnswer<KeysAnswer>("keys", { experiments: set.experiments })
  const known = useAnswer<KnownKeys>("columns", { experiments: set.experiments, deleted: false })
  const change = (patch: Partial<RunSet>): void => setSet((now) => ({ ...now, ...patch }))
  const filter = useRested(filterOf(set), 300)
  const found = useAnswer<RunsAnswer>("runs", {
    experiments: set.experiments,
    filter,
    search: "",
    regex: false,
    order: [],
    columns: [],
    deleted: false,
    limit: 0,
    ids: false,
    at: null,
  })
  // Charts that are no plain lines by name were made in a workspace, and stay as they are.
  const others = useMemo(
    () => panel?.cards?.filter((card) => card.kind !== "line" || card.pattern) ?? [],
    [panel],
  )
  const shownColumns = columns ?? autoColumns(known.data).map((one) => one.name)
  const cards = [...cardsOf(keys, panel?.cards ?? [], isTogether), ...others]
  const isGood = found.error === null && (kind !== "charts" || cards.length > 0)
  const make = (): void => {
    const base = { ...(panel?.id !== undefined && { id: panel.id }), kind, title: title.trim(), runs: set }
    if (kind === "charts") onPanel({ ...base, cards, settings: panel?.settings ?? null })
    else if (kind === "runs") onPanel({ ...base, columns: shownColumns.slice(0, 40) })
    else if (kind === "compare") onPanel({ ...base, parts, differences: isBrief })
    else if (kind === "media") onPanel({ ...base, keys: panel?.keys ?? [] })
    else onPanel(base)
  }
  const orders = [
    ...(known.data?.metrics ?? []).map((one) => `metrics.${one.key}:latest`),
    ...(known.data?.params ?? []).map((one) => `params.${one.key}`),
  ].slice(0, 500)
  return (
    <Dialog
      title={panel ? "Change the panel" : "Charts and runs"}
      isWide
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" disabled={!isGood} onClick={make}>
            {panel ? "Change" : "Insert"}
          </Button>
        </>
      }
    >
      <div className="w-panel-form">
        <Segments
          label="What it shows"
          value={kind}
          options={PANEL_KINDS.map((value) => ({ value, label: PANEL_WORDS[value] }))}
          onChange={setKind}
        />
        <label className="w-chart-field">
          Title
          <input className="w-input" value={title} maxLength={250} placeholder="none" onChange={(event) => setTitle(event.target.value)} />
        </label>
        <fieldset className="w-panel-runs">
          <legend>Runs</legend>
          {set.ids !== null ? (
            <p>
              {count(set.ids.length)} {set.ids.length === 1 ? "run" : "runs"} that were chosen.{" "}
              <Button isSmall onClick={() => change({ ids: null })}>
                Choose by a filter instead
              </Button>
            </p>
          ) : (
            <label className="w-chart-field">
              Filter
              <input
                className="w-input w-chart-pattern"
                value={set.filter}
                maxLength={8_000}
                spellCheck={false}
                placeholder="metrics.val/loss < 0.4 and params.opt = 'adam'; empty is all runs"
                aria-invalid={found.error !== null}
                onChange={(event) => change({ filter: event.target.value })}
              />
            </label>
          )}
          <p role="status" className={found.error ? "w-text-bad" : "w-secondary"}>
            {found.error ? found.error.message : found.data ? `${count(found.data.matching)} runs match` : "…"}
          </p>
          <div className="w-panel-fields">
            <label className="w-chart-field">
              Order
              <input
                className="w-input"
                list={listId}
                value={set.order[0]?.replace(/^-/, "") ?? ""}
                placeholder="newest first"
                onChange={(event) => {
                  const name = event.target.value.trim()
                  change({ order: name ? [set.order[0]?.startsWith("-") ? `-${name}` : name] : [] })
                }}
              />
              <datalist id={listId}>
                {orders.map((name) => (
                  <option key={name} value={name} />
                ))}
              </datalist>
            </label>
            {set.order.length > 0 && (
              <Checkbox
                label="Largest first"
                isChecked={set.order[0]?.startsWith("-") ?? false}
                onChange={(isDown) => {
                  const name = set.order[0]?.replace(/^-/, "") ?? ""
                  change({ order: [isDown ? `-${name}` : name] })
                }}
              />
            )}
            <label className="w-chart-field">
              At most
              <select className="w-input" value={set.most} onChange={(event) => change({ most: Number(event.target.value) })}>
                {[...new Set([...MOST, set.most])].sort((a, b) => a - b).map((n) => (
                  <option key={n} value={n}>
                    {count(n)} runs
                  </option>
                ))}
              </select>
            </label>
            <label className="w-chart-field">
              Group by
              <select
                className="w-input"
                value={set.groupBy[0] ?? ""}
                onChange={(event) => change({ groupBy: event.target.value ? [event.target.value] : [] })}
              >
                <option value="">nothing</option>
                {(known.data?.params ?? []).slice(0, 300).map((one) => (
                  <option key={one.key} value={`params.${one.key}`}>
                    {visible(one.key, 80)}
                  </option>
                ))}
              </select>
            </label>
          </div>
          <Segments
            label="Live or frozen"
            value={set.at === null ? "live" : "frozen"}
            options={[
              { value: "live", label: "Live" },
              { value: "frozen", label: set.at === null ? "Frozen as of now" : `Frozen at ${dateTime(set.at).slice(0, 16)}` },
            ]}
            onChange={(value) => change({ at: value === "live" ? null : (set.at ?? found.data?.now ?? Date.now()) })}
          />
        </fieldset>
        {kind === "charts" && (
          <>
            <KeyPicker
              title="Metrics"
              all={(metrics.data?.keys ?? []).map(({ key, n_runs }) => ({ key, n_runs }))}
              chosen={keys}
              onChange={setKeys}
              isOpenFirst
            />
            <Checkbox label="All on one chart" isChecked={isTogether} onChange={setTogether} isDisabled={keys.length < 2} />
            {others.length > 0 && <p className="w-secondary">{count(others.length)} other charts stay as they are.</p>}
          </>
        )}
        {kind === "runs" && (
          <KeyPicker
            title="Columns"
            all={[
              "attributes.status",
              "attributes.start_time",
              "attributes.duration",
              "attributes.user_id",
              ...(known.data?.metrics ?? []).flatMap(({ key }) => [`metrics.${key}:latest`, `metrics.${key}:min`, `metrics.${key}:max`]),
              ...(known.data?.params ?? []).map(({ key }) => `params.${key}`),
              ...(known.data?.tags ?? []).map(({ key }) => `tags.${key}`),
            ].map((key) => ({ key, n_runs: null }))}
            chosen={shownColumns}
            onChange={setColumns}
            isOpenFirst
          >
            <p className="w-secondary">{shownColumns.map(columnTitle).join(", ")}</p>
          </KeyPicker>
        )}
        {kind === "compare" && (
          <div className="w-panel-fields">
            {SECTIONS.map(({ value, label }) => (
              <Checkbox
                key={value}
                label={label}
                isChecked={parts.includes(value)}
                onChange={(isOn) => setParts(isOn ? [...parts, value] : parts.filter((one) => one !== value))}
              />
            ))}
            <Checkbox label="Differences only" isChecked={isBrief} onChange={setBrief} />
          </div>
        )}
        {kind === "code" && <p className="w-secondary">Of one run its commit and changes; of two what differs.</p>}
      </div>
    </Dialog>
  )
}
