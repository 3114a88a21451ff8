import { useMemo, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import type { Choice } from "../controls/combobox"
import { Combobox } from "../controls/combobox"
import { PlaceLink } from "../layout/link"
import type { RunTab } from "../grammar"
import { setQuery, useRoute } from "../router"
import type { RunRow } from "../runs/api"
import { pastedId, useFoundRuns } from "../runs/find-runs"
import { ago, count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { RunFacts } from "./facts"

const RUN_ID = /^[0-9a-f]{32}$/

/** The run that this one is held against, as the URL names it (`with=`), and how to name another. */
export function useOtherRun(run: RunFacts): [string | null, (id: string | null) => void] {
  const { query } = useRoute()
  const named = query.get("with") ?? ""
  const other = RUN_ID.test(named) && named !== run.id ? named : null
  const setOther = (id: string | null): void => {
    const next = new URLSearchParams(query)
    if (id === null) next.delete("with")
    else next.set("with", id)
    setQuery(next, { push: true })
  }
  return [other, setOther]
}

function choiceOf(row: RunRow, group: string): Choice {
  const state = row.status === "FINISHED" ? "" : `${row.status.toLowerCase()}, `
  return {
    id: row.id,
    label: visible(row.name || row.id, NAME_LENGTH),
    about: `${state}${ago(row.start)}`,
    group,
  }
}

/** Find the run to hold this one against: of its experiment first, then of all others. */
export function RunPicker({
  run,
  tab,
  otherId,
  otherName,
  onChoose,
}: {
  run: RunFacts
  /** Where the other run's name leads. */
  tab: RunTab
  otherId: string | null
  otherName: string | null
  onChoose: (id: string | null) => void
}) {
  if (otherId === null) return <Finder run={run} onChoose={onChoose} />
  return (
    <div className="w-row w-run-picker">
      <span className="w-cut">
        Beside{" "}
        <PlaceLink to={{ page: "run", runId: otherId, tab }}>
          {visible(otherName || otherId, NAME_LENGTH)}
        </PlaceLink>
      </span>
      <Button isSmall icon="close" onClick={() => onChoose(null)}>
        End the comparison
      </Button>
    </div>
  )
}

interface Experiments {
  readonly experiments: readonly { readonly id: string }[]
}

function Finder({ run, onChoose }: { run: RunFacts; onChoose: (id: string) => void }) {
  const [text, setText] = useState("")
  const [isUsed, setUsed] = useState(false)
  const search = text.trim()
  const own = useFoundRuns(isUsed ? [run.experiment_id] : [], text)
  // Others are looked through when something is searched for.
  const all = useAnswer<Experiments>(isUsed && search !== "" ? "experiments" : null, {})
  const otherIds = useMemo(
    () => (all.data?.experiments ?? []).map((one) => one.id).filter((id) => id !== run.experiment_id),
    [all.data, run.experiment_id],
  )
  const others = useFoundRuns(search === "" ? [] : otherIds, text)
  const pasted = pastedId(text)
  const choices = useMemo<Choice[]>(() => {
    if (pasted !== null) {
      return pasted === run.id ? [] : [{ id: pasted, label: pasted, group: "The run of this id" }]
    }
    return [
      ...own.rows.map((row) => choiceOf(row, "This experiment")),
      ...others.rows.map((row) => choiceOf(row, "Other experiments")),
    ].filter((one) => one.id !== run.id)
  }, [own.rows, others.rows, pasted, run.id])
  const isAsking = own.isAsking || (search !== "" && (others.isAsking || all.isLoading))
  const nMore = own.matching - own.rows.length + (others.matching - others.rows.length)
  const error = own.error ?? others.error
  return (
    <div className="w-run-picker" onFocus={() => setUsed(true)}>
      <Combobox
        label="Compare with another run"
        text={text}
        onText={setText}
        choices={choices}
        onChoose={(choice) => onChoose(choice.id)}
        note={
          pasted === run.id
            ? "That is this run."
            : error
              ? `Runs could not be searched: ${error.message}`
              : isAsking && choices.length === 0
                ? "…"
                : choices.length === 0
                  ? "No other run is called that."
                  : nMore > 0
                    ? `${count(nMore)} more; a longer text finds fewer`
                    : null
        }
      />
    </div>
  )
}
