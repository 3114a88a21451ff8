import { useEffect, useId, useState } from "react"

import { Button, IconButton, Segments } from "../controls/button"
import { Popover } from "../controls/menu"
import { count } from "../text/format"
import { visible } from "../text/visible"
import type { Condition, Group, KnownKey, Tree } from "./api"
import {
  changed,
  comparatorsOf,
  countConditions,
  isGroup,
  NEW_CONDITION,
  topGroup,
  treeText,
  typedValue,
} from "./filter-tree"
import { isHigherBetter } from "./direction"
import { MadeBy } from "./made-by"
import { treeOf } from "./switches"
import { useWorkspace } from "./workspace-context"

const KINDS: readonly { value: Condition["kind"]; label: string }[] = [
  { value: "attributes", label: "run" },
  { value: "params", label: "param" },
  { value: "metrics", label: "metric" },
  { value: "tags", label: "tag" },
  { value: "datasets", label: "data set" },
]
const ATTRIBUTES = ["status", "run_name", "user_id", "start_time", "end_time", "run_id"]
const STATUSES = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
const MAX_LEVELS = 3

/** The filter: as conditions, and as text; two faces of one tree that the server has parsed. */
export function FilterButton() {
  const { view, list } = useWorkspace()
  const n = countConditions(treeOf(view.doc, list).tree)
  const isSet = view.doc.filter.trim() !== ""
  return (
    <Popover
      label="Filter"
      button={{
        icon: "filter",
        isSmall: true,
        children: isSet && !list.fault ? `Filter · ${n}` : isSet ? "Filter · !" : "Filter",
        "aria-pressed": isSet,
        id: "w-filter-button",
      }}
    >
      {() => <FilterBox />}
    </Popover>
  )
}

function FilterBox() {
  const { view, list } = useWorkspace()
  const { doc, update } = view
  const [text, setText] = useState(doc.filter)
  const textId = useId()
  // Undo, a view that is opened and the builder change it from outside.
  useEffect(() => setText(doc.filter), [doc.filter])
  const write = (next: string): void => {
    setText(next)
    update({ filter: next }, "filter")
  }
  // What the builder has written is not known by the server yet, and the next change is of that.
  const [built, setBuilt] = useState<{ tree: Tree | null; text: string } | null>(null)
  const told = treeOf(doc, list)
  const isBuilt = built !== null && built.text === doc.filter
  const tree = isBuilt ? built.tree : told.tree
  const isStale = list.fault !== null
  const isWaiting = !isBuilt && !told.isCurrent
  const setTree = (next: Tree | null): void => {
    const written = treeText(next)
    setBuilt({ tree: next, text: written })
    write(written)
  }
  return (
    <div className="w-filter">
      <div className="w-filter-top">
        <strong>Filter</strong>
        <span className="w-filter-count" role="status">
          {count(list.ids.count)} of {count(list.total)} runs
        </span>
      </div>
      {isStale ? (
        <p className="w-filter-stale">
          The text below cannot be read; the list shows the last filter that could.
        </p>
      ) : (
        <fieldset className="w-filter-tree" disabled={isWaiting}>
          <GroupEditor group={topGroup(tree)} level={1} onChange={setTree} />
        </fieldset>
      )}
      <label htmlFor={textId} className="w-filter-label">
        As text
      </label>
      <textarea
        id={textId}
        className="w-input w-filter-text"
        rows={3}
        spellCheck={false}
        aria-invalid={isStale}
        aria-describedby={`${textId}-fault`}
        placeholder={"params.lr >= 1e-3 and (tags.team = 'vision' or started within last 7 d)"}
        value={text}
        onChange={(event) => write(event.target.value)}
      />
      <div id={`${textId}-fault`} role="alert" className="w-filter-fault">
        {list.fault && <Fault text={text} />}
      </div>
      <div className="w-filter-foot">
        <label className="w-check">
          <input
            type="checkbox"
            checked={doc.hidesCrashed}
            onChange={(event) => update({ hidesCrashed: event.target.checked })}
          />
          Hide failed and killed runs
        </label>
        <MadeBy tree={tree} isDisabled={isStale || isWaiting} onChange={setTree} />
        <Button isSmall disabled={!text} onClick={() => write("")}>
          Clear
        </Button>
      </div>
    </div>
  )
}

/** What is wrong, with a caret under where. */
function Fault({ text }: { text: string }) {
  const { list } = useWorkspace()
  const { fault } = list
  if (fault === null) return null
  const at = fault.position ?? -1
  const start = Math.max(0, at - 24)
  return (
    <>
      <div>{visible(fault.message, 300)}</div>
      {at >= 0 && at <= text.length && (
        <pre aria-hidden="true">
          {visible(text.slice(start, at + 24)).replaceAll("\n", " ")}
          {"\n"}
          {" ".repeat(at - start)}
          {"^".repeat(Math.min(24, Math.max(1, fault.length)))}
        </pre>
      )}
    </>
  )
}

function GroupEditor({
  group,
  level,
  onChange,
  onRemove,
}: {
  group: Group
  level: number
  onChange: (group: Group) => void
  onRemove?: () => void
}) {
  const set = (at: number, part: Tree | null): void => {
    const parts = part === null ? group.parts.filter((_, i) => i !== at) : group.parts.map((one, i) => (i === at ? part : one))
    onChange({ ...group, parts })
  }
  const add = (part: Tree): void => onChange({ ...group, parts: [...group.parts, part] })
  const isNot = group.joined === "not"
  return (
    <div className={`w-filter-group${level > 1 ? " w-filter-inner" : ""}`} role="group" aria-label="Conditions">
      <div className="w-filter-join">
        {isNot ? (
          <span>None of</span>
        ) : (
          <Segments
            label="How conditions are joined"
            options={[
              { value: "and", label: "All of" },
              { value: "or", label: "Any of" },
            ]}
            value={group.joined as "and" | "or"}
            onChange={(joined) => onChange({ ...group, joined })}
          />
        )}
        {onRemove && <IconButton icon="close" label="Remove the group" isSmall onClick={onRemove} />}
      </div>
      {group.parts.map((part, at) =>
        isGroup(part) ? (
          <GroupEditor
            key={at}
            group={part}
            level={level + 1}
            onChange={(next) => set(at, next.parts.length ? next : null)}
            onRemove={() => set(at, null)}
          />
        ) : (
          <ConditionEditor
            key={at}
            condition={part}
            onChange={(next) => set(at, next)}
            onRemove={() => set(at, null)}
          />
        ),
      )}
      {!isNot && (
        <div className="w-filter-add">
          <Button isSmall icon="plus" onClick={() => add(NEW_CONDITION)}>
            Condition
          </Button>
          {level < MAX_LEVELS && (
            <Button
              isSmall
              icon="plus"
              onClick={() =>
                add({ joined: group.joined === "and" ? "or" : "and", parts: [NEW_CONDITION] })
              }
            >
              Group
            </Button>
          )}
        </div>
      )}
    </div>
  )
}

function ConditionEditor({
  condition,
  onChange,
  onRemove,
}: {
  condition: Condition
  onChange: (condition: Condition) => void
  onRemove: () => void
}) {
  const { known, view } = useWorkspace()
  const listId = useId()
  const { kind, key, comparator } = condition
  const isHigher = isHigherBetter(key, view.doc.higherIsBetter)
  const keys: readonly Pick<KnownKey, "key" | "n_runs" | "is_number">[] =
    kind === "params" || kind === "metrics" || kind === "tags" ? (known?.[kind] ?? []) : []
  return (
    <div className="w-filter-condition">
      <select
        className="w-input"
        aria-label="Kind"
        value={kind}
        onChange={(event) => {
          const next = event.target.value as Condition["kind"]
          const first = next === "attributes" ? "status" : next === "datasets" ? "name" : ""
          const found = next === "params" || next === "metrics" || next === "tags" ? known?.[next][0] : undefined
          onChange(
            changed(condition, {
              kind: next,
              key: found?.key ?? first,
              aggregate: next === "metrics" ? "latest" : "",
              // One that some runs have: the list is not empty before anybody has said what they want.
              values: found?.values.slice(0, 1) ?? [],
            }),
          )
        }}
      >
        {KINDS.map((one) => (
          <option key={one.value} value={one.value}>
            {one.label}
          </option>
        ))}
      </select>
      {kind === "metrics" && (
        <select
          className="w-input"
          aria-label="Which value"
          value={condition.aggregate || "latest"}
          onChange={(event) => {
            const aggregate = event.target.value === "best" ? (isHigher ? "max" : "min") : event.target.value
            onChange({ ...condition, aggregate })
          }}
        >
          <option value="latest">latest</option>
          <option value="min">min</option>
          <option value="max">max</option>
          <option value="best">best ({isHigher ? "max" : "min"})</option>
        </select>
      )}
      {kind === "attributes" || kind === "datasets" ? (
        <select
          className="w-input w-filter-key"
          aria-label="Field"
          value={key}
          onChange={(event) => onChange(changed(condition, { key: event.target.value, values: [] }))}
        >
          {(kind === "attributes" ? ATTRIBUTES : ["name", "digest", "context"]).map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      ) : (
        <>
          <DraftInput
            label="Key"
            className="w-filter-key"
            list={`${listId}-keys`}
            value={key}
            onCommit={(next) => next && onChange({ ...condition, key: next })}
          />
          <datalist id={`${listId}-keys`}>
            {keys.slice(0, 500).map((one) => (
              <option key={one.key} value={one.key}>
                {`${one.is_number ? "number" : "text"}, ${count(one.n_runs)} runs`}
              </option>
            ))}
          </datalist>
        </>
      )}
      <select
        className="w-input"
        aria-label="Comparison"
        value={comparator}
        onChange={(event) => onChange(changed(condition, { comparator: event.target.value }))}
      >
        {comparatorsOf(condition).map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
      <ValueEditor condition={condition} listId={listId} onChange={onChange} />
      <IconButton icon="close" label="Remove the condition" isSmall onClick={onRemove} />
    </div>
  )
}

function ValueEditor({
  condition,
  listId,
  onChange,
}: {
  condition: Condition
  listId: string
  onChange: (condition: Condition) => void
}) {
  const { known } = useWorkspace()
  const { kind, key, comparator, values } = condition
  if (comparator.startsWith("is ")) return null
  const set = (next: readonly (number | string)[]): void => onChange({ ...condition, values: next })
  if (comparator === "within last") {
    return (
      <span className="w-filter-time">
        <DraftInput
          label="How many"
          value={String(values[0] ?? 7)}
          onCommit={(text) => set([Math.max(0, Number(text) || 1), values[1] ?? "d"])}
        />
        <select
          className="w-input"
          aria-label="Unit"
          value={String(values[1] ?? "d")}
          onChange={(event) => set([values[0] ?? 7, event.target.value])}
        >
          <option value="m">minutes</option>
          <option value="h">hours</option>
          <option value="d">days</option>
          <option value="w">weeks</option>
        </select>
      </span>
    )
  }
  const isList = comparator === "in" || comparator === "not in"
  if (isList && kind === "attributes" && key === "status") {
    return (
      <span className="w-filter-statuses">
        {STATUSES.map((status) => (
          <label key={status} className="w-check">
            <input
              type="checkbox"
              checked={values.includes(status)}
              onChange={(event) => {
                const next = event.target.checked
                  ? [...values, status]
                  : values.filter((one) => one !== status)
                set(next.length ? next : [""])
              }}
            />
            {status.toLowerCase()}
          </label>
        ))}
      </span>
    )
  }
  const suggested =
    kind === "params" || kind === "tags"
      ? (known?.[kind].find((one) => one.key === key)?.values ?? [])
      : kind === "attributes" && key === "status"
        ? STATUSES
        : []
  return (
    <>
      <DraftInput
        label={isList ? "Values, separated by commas" : "Value"}
        className="w-filter-value"
        list={`${listId}-values`}
        value={values.map(String).join(", ")}
        onCommit={(text) =>
          set(
            isList
              ? text.split(",").map((one) => typedValue(one.trim(), kind, comparator))
              : [kind === "metrics" ? numberOr(text, values[0]) : typedValue(text, kind, comparator)],
          )
        }
      />
      <datalist id={`${listId}-values`}>
        {suggested.map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
    </>
  )
}

function numberOr(text: string, before: number | string | undefined): number {
  const value = Number(text)
  return text.trim() !== "" && Number.isFinite(value) ? value : typeof before === "number" ? before : 0
}

/** A field that says what was typed when one leaves it or presses Enter. */
function DraftInput({
  label,
  value,
  list,
  className = "",
  onCommit,
}: {
  label: string
  value: string
  list?: string
  className?: string
  onCommit: (text: string) => void
}) {
  const [draft, setDraft] = useState(value)
  useEffect(() => setDraft(value), [value])
  const commit = (): void => {
    if (draft !== value) onCommit(draft)
  }
  return (
    <input
      className={`w-input ${className}`}
      aria-label={label}
      placeholder={label}
      autoComplete="off"
      spellCheck={false}
      list={list}
      value={draft}
      onChange={(event) => setDraft(event.target.value)}
      onBlur={commit}
      onKeyDown={(event) => {
        if (event.key === "Enter") commit()
      }}
    />
  )
}
