import { useMemo, useState } from "react"

import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import type { Choice } from "../controls/combobox"
import { Combobox } from "../controls/combobox"
import { Dialog } from "../controls/dialog"
import { useListVisibility, VisibilityWord } from "../teams/visibility"
import { fuzzyScore } from "../text/fuzzy"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import { useWorkspace } from "./workspace-context"

const MOST = 30
const NONE: readonly { readonly id: string }[] = []

interface Experiments {
  readonly experiments: readonly { readonly id: string; readonly name: string; readonly n_runs: number }[]
}

/** Choose the experiment that runs are moved to, and hear what does not go along. */
export function MoveDialog({
  ids,
  onClose,
  onMove,
}: {
  ids: readonly string[]
  onClose: () => void
  onMove: (experimentId: string) => void
}) {
  const { experimentIds } = useWorkspace()
  const found = useAnswer<Experiments>("experiments", {})
  const seen = useListVisibility(found.data?.experiments ?? NONE)
  const [text, setText] = useState("")
  const [chosen, choose] = useState<Choice | null>(null)
  const wanted = text.trim().toLowerCase()
  const choices = useMemo(
    (): Choice[] =>
      (found.data?.experiments ?? [])
        .filter((one) => experimentIds.length > 1 || one.id !== experimentIds[0])
        .map((one) => ({ one, score: wanted === "" ? 1 : fuzzyScore(visible(one.name), wanted) }))
        .filter(({ score }) => score > 0)
        .sort((a, b) => b.score - a.score)
        .slice(0, MOST)
        .map(({ one }) => ({
          id: one.id,
          label: visible(one.name, NAME_LENGTH),
          about: `${count(one.n_runs)} ${one.n_runs === 1 ? "run" : "runs"}`,
          icon: "folder",
          beside: <VisibilityWord of={seen} experimentId={one.id} />,
        })),
    [found.data, experimentIds, seen, wanted],
  )
  const runs = `${count(ids.length)} ${ids.length === 1 ? "run" : "runs"}`
  return (
    <Dialog
      title={`Move ${runs} to another experiment`}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" disabled={chosen === null} onClick={() => chosen && onMove(chosen.id)}>
            Move
          </Button>
        </>
      }
    >
      <Combobox
        label="Experiment"
        text={text}
        onText={(next) => {
          setText(next)
          choose(null)
        }}
        choices={chosen === null ? choices : [chosen]}
        isAlwaysOpen
        className="w-move-choices"
        onChoose={(choice) => {
          choose(choice)
          setText(choice.label)
        }}
        note={
          found.error
            ? `The experiments could not be read: ${found.error.message}`
            : found.isLoading
              ? "…"
              : choices.length === 0
                ? "No other experiment is called that."
                : null
        }
      />
      <p className="w-secondary">
        Files stay where they are: who may read the experiment that a run leaves may still read its files. Runs that have
        not ended, and runs with logged models or traces, are not moved.
      </p>
    </Dialog>
  )
}
