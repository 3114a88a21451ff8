import { useMemo, useState } from "react"

import { Button } from "../controls/button"
import { Checkbox, SearchBox } from "../controls/input"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { CandidateKey } from "./api"

const MOST_ROWS = 100

/** Keys that visitors see, ticked one by one; found by a search where there are many. */
export function KeyPicker({
  title,
  all,
  chosen,
  onChange,
  isOpenFirst = false,
  children,
}: {
  title: string
  all: readonly CandidateKey[]
  chosen: readonly string[]
  onChange: (keys: readonly string[]) => void
  isOpenFirst?: boolean
  /** Above the keys. */
  children?: React.ReactNode
}) {
  const [search, setSearch] = useState("")
  const found = useMemo(() => {
    const words = search.trim().toLowerCase()
    return words ? all.filter((one) => one.key.toLowerCase().includes(words)) : all
  }, [all, search])
  const ticked = useMemo(() => new Set(chosen), [chosen])
  const nTicked = all.reduce((n, one) => n + Number(ticked.has(one.key)), 0)
  const set = (keys: Iterable<string>, isTicked: boolean): void => {
    const next = new Set(chosen)
    for (const key of keys) {
      if (isTicked) next.add(key)
      else next.delete(key)
    }
    onChange([...next])
  }
  const shown = found.slice(0, MOST_ROWS)
  const areAll = found.every((one) => ticked.has(one.key))
  if (all.length === 0) {
    return (
      <p className="w-share-none">
        {title} <span className="w-secondary">none</span>
      </p>
    )
  }
  return (
    <details className="w-share-keys" open={isOpenFirst}>
      <summary>
        {title}{" "}
        <span className="w-secondary">
          {count(nTicked)} of {count(all.length)}
        </span>
      </summary>
      {children}
      <div className="w-share-keys-tools">
        {all.length > 6 && (
          <SearchBox label={`Search ${title.toLowerCase()}`} value={search} onChange={setSearch} />
        )}
        {found.length > 0 && (
          <Button isSmall onClick={() => set(found.map((one) => one.key), !areAll)}>
            {areAll ? "Untick" : "Tick"} {search.trim() ? "what is found" : "all"}
          </Button>
        )}
      </div>
      <ul className="w-share-list" aria-label={title}>
        {shown.map(({ key, n_runs }) => (
          <li key={key}>
            <Checkbox
              label={
                <span className="w-cut" title={visible(key)} dir="auto">
                  {visible(key, NAME_LENGTH)}
                </span>
              }
              isChecked={ticked.has(key)}
              onChange={(isTicked) => set([key], isTicked)}
            />
            {n_runs !== null && (
              <span className="w-secondary" title="Runs that have it">
                {count(n_runs)}
              </span>
            )}
          </li>
        ))}
      </ul>
      {found.length === 0 && <p className="w-secondary">None is called that.</p>}
      {found.length > shown.length && (
        <p className="w-secondary">
          {count(found.length - shown.length)} more; search for them by name.
        </p>
      )}
    </details>
  )
}
