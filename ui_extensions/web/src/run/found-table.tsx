import { useMemo, useState } from "react"

import { SearchBox } from "../controls/input"
import { copyExact } from "../text/exact"
import { count } from "../text/format"
import { visible } from "../text/visible"

const ROWS_FIRST = 100
const pairText = ([key, value]: [string, string]): string => `${key} ${value}`

/** A table that shows its first rows, finds, and says how many there are. */
export function Found<T>({
  id,
  title,
  all,
  total,
  textOf,
  empty,
  head,
  row,
  action,
}: {
  id: string
  title: string
  all: readonly T[]
  total: number
  textOf: (one: T) => string
  empty: string
  head: React.ReactNode
  row: (one: T) => React.ReactNode
  /** Beside the heading. */
  action?: React.ReactNode
}) {
  const [search, setSearch] = useState("")
  const [isAll, setAll] = useState(false)
  const found = useMemo(() => {
    const words = search.toLowerCase()
    return words ? all.filter((one) => textOf(one).toLowerCase().includes(words)) : all
  }, [all, search, textOf])
  const shown = isAll ? found : found.slice(0, ROWS_FIRST)
  return (
    <section aria-labelledby={id}>
      <div className="w-section-head">
        <h2 id={id} className="w-section-title">
          {title} <span className="w-secondary">{count(total)}</span>
        </h2>
        {all.length > 8 && (
          <SearchBox label={`Search ${title.toLowerCase()}`} value={search} onChange={setSearch} />
        )}
        {action}
      </div>
      {all.length === 0 ? (
        <p className="w-secondary">{empty}</p>
      ) : (
        <table className="w-kv" onCopy={copyExact}>
          <thead>{head}</thead>
          <tbody>{shown.map(row)}</tbody>
        </table>
      )}
      {shown.length < found.length && (
        <button type="button" className="w-more" onClick={() => setAll(true)}>
          {count(found.length - shown.length)} more
        </button>
      )}
      {search && found.length === 0 && <p className="w-secondary">None matches.</p>}
      {total > all.length && (
        <p className="w-secondary">
          {count(total - all.length)} more than this page shows; MLflow's own page has them.
        </p>
      )}
    </section>
  )
}

/** Keys and their texts. */
export function Pairs({
  id,
  title,
  noun,
  all,
  total,
  empty,
  action,
}: {
  id: string
  title: string
  /** Over the keys. */
  noun: string
  all: readonly [string, string][]
  total: number
  empty: string
  action?: React.ReactNode
}) {
  return (
    <Found
      id={id}
      title={title}
      all={all}
      total={total}
      textOf={pairText}
      empty={empty}
      action={action}
      head={
        <tr>
          <th scope="col">{noun}</th>
          <th scope="col">Value</th>
        </tr>
      }
      row={([key, value]) => (
        <tr key={key}>
          <th scope="row">{visible(key, 250)}</th>
          <td>
            <LongText text={value} />
          </td>
        </tr>
      )}
    />
  )
}

const SHORT = 200

function LongText({ text }: { text: string }) {
  const [isOpen, setOpen] = useState(false)
  if (text.length <= SHORT) return <>{visible(text)}</>
  return (
    <>
      {visible(text, isOpen ? 6_000 : SHORT)}{" "}
      <button
        type="button"
        className="w-more"
        aria-expanded={isOpen}
        onClick={() => setOpen(!isOpen)}
      >
        {isOpen ? "less" : "more"}
      </button>
    </>
  )
}
