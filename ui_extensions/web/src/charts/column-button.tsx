/** A column of runs that somebody chooses: a button with its name, and a list to search in. */

import { useMemo, useState } from "react"

import { Combobox } from "../controls/combobox"
import { Popover } from "../controls/menu"
import type { KnownKeys } from "../runs/api"
import { columnTitle } from "../runs/columns"
import { count } from "../text/format"
import { fuzzyScore } from "../text/fuzzy"
import { Name } from "../text/name"

const MAX_SHOWN = 200
const TIMES = ["attributes.duration", "attributes.start_time"]

export interface ColumnKinds {
  params?: boolean
  metrics?: boolean
  tags?: boolean
  times?: boolean
}

interface ColumnChoice {
  id: string
  label: string
  group: string
}

/** The columns that there are, of some kinds. */
export function columnChoices(known: KnownKeys | null, kinds: ColumnKinds): ColumnChoice[] {
  const choice = (group: string) => (id: string) => ({ id, label: columnTitle(id), group })
  const all = known ?? { params: [], metrics: [], tags: [] }
  return [
    ...(kinds.params ? all.params.map(({ key }) => `params.${key}`).map(choice("Params")) : []),
    ...(kinds.metrics
      ? all.metrics.flatMap(({ key }) => ["latest", "min", "max"].map((how) => `metrics.${key}:${how}`)).map(choice("Metrics"))
      : []),
    ...(kinds.times ? TIMES.map(choice("Times")) : []),
    ...(kinds.tags ? all.tags.map(({ key }) => `tags.${key}`).map(choice("Tags")) : []),
  ]
}

export function ColumnButton({
  label,
  column,
  known,
  kinds,
  otherwise,
  onChange,
}: {
  label: string
  /** Null where none is chosen. */
  column: string | null
  known: KnownKeys | null
  kinds: ColumnKinds
  /** What choosing none is called; not offered where it is undefined. */
  otherwise?: string
  onChange: (column: string | null) => void
}) {
  const title = column === null ? (otherwise ?? "choose") : columnTitle(column)
  return (
    <Popover
      label={label}
      button={{
        isSmall: true,
        kind: "quiet",
        className: "w-column-button",
        title,
        children: (
          <>
            <span className="w-secondary">{label}:</span>
            <Name text={title} title={null} />
            <span aria-hidden="true" className="w-column-open" />
          </>
        ),
      }}
    >
      {(close) => (
        <ColumnList
          label={label}
          known={known}
          kinds={kinds}
          {...(otherwise === undefined ? {} : { otherwise })}
          onChoose={(next) => {
            close()
            onChange(next)
          }}
        />
      )}
    </Popover>
  )
}

const NOTHING = ""

function ColumnList({
  label,
  known,
  kinds,
  otherwise,
  onChoose,
}: {
  label: string
  known: KnownKeys | null
  kinds: ColumnKinds
  otherwise?: string
  onChoose: (column: string | null) => void
}) {
  const [text, setText] = useState("")
  const all = useMemo(() => {
    const none = otherwise === undefined ? [] : [{ id: NOTHING, label: otherwise, group: "" }]
    return [...none, ...columnChoices(known, kinds)]
  }, [known, kinds, otherwise])
  const found = all.filter((one) => fuzzyScore(one.label, text.trim().toLowerCase()) > 0)
  return (
    <Combobox
      label={`Search: ${label}`}
      text={text}
      onText={setText}
      choices={found.slice(0, MAX_SHOWN)}
      onChoose={({ id }) => onChoose(id === NOTHING ? null : id)}
      isAlwaysOpen
      className="w-column-list"
      note={found.length === 0 ? "Nothing has this in its name." : found.length > MAX_SHOWN ? `${count(found.length - MAX_SHOWN)} more: search` : undefined}
    />
  )
}
