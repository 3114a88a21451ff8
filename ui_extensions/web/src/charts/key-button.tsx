/** One of many metrics, found by some of its name. */

import { useMemo, useState } from "react"

import { Combobox } from "../controls/combobox"
import { Popover } from "../controls/menu"
import { count } from "../text/format"
import { fuzzyScore } from "../text/fuzzy"
import { NAME_LENGTH, visible } from "../text/visible"

const MAX_SHOWN = 200

export function KeyButton({ keys, onKey }: { keys: readonly string[]; onKey: (key: string) => void }) {
  return (
    <Popover
      label="Another metric as x"
      button={{ isSmall: true, icon: "search", "aria-label": "Another metric as x", title: "Another metric as x" }}
    >
      {(close) => (
        <KeyList
          keys={keys}
          onKey={(key) => {
            close()
            onKey(key)
          }}
        />
      )}
    </Popover>
  )
}

function KeyList({ keys, onKey }: { keys: readonly string[]; onKey: (key: string) => void }) {
  const [text, setText] = useState("")
  const found = useMemo(() => {
    const wanted = text.trim().toLowerCase()
    if (wanted === "") return keys
    return keys
      .map((key) => ({ key, score: fuzzyScore(key, wanted) }))
      .filter(({ score }) => score > 0)
      .sort((a, b) => b.score - a.score)
      .map(({ key }) => key)
  }, [keys, text])
  const nMore = found.length - MAX_SHOWN
  return (
    <Combobox
      label="Search metrics"
      text={text}
      onText={setText}
      choices={found.slice(0, MAX_SHOWN).map((key) => ({ id: key, label: visible(key, NAME_LENGTH) }))}
      onChoose={({ id }) => onKey(id)}
      isAlwaysOpen
      className="w-column-list"
      note={found.length === 0 ? "Nothing has this in its name." : nMore > 0 ? `${count(nMore)} more: search` : undefined}
    />
  )
}
