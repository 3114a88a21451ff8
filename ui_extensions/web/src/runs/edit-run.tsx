import { useState } from "react"

import { Button } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { Failed, Loading } from "../controls/state"
import { useAsked } from "../api/use-answer"
import { call } from "../api/client"
import { visible } from "../text/visible"
import type { RunRow } from "./api"
import type { Tag } from "./tag-fields"
import { HIDDEN_TAGS } from "../run/facts"
import { actOnRun, saveTags, TagFields } from "./tag-fields"
import { useWorkspace } from "./workspace-context"

/** Name, notes and tags of a run, in place. */
export function EditRun({ row, onClose }: { row: RunRow; onClose: () => void }) {
  const { experimentIds, list, tell } = useWorkspace()
  const answer = useAsked(row.id, ({ signal }) =>
    call<{ runs: readonly { tags: readonly Tag[] }[] }>(
      "runs/compare",
      { experiments: experimentIds, run_ids: [row.id], deleted: row.stage === "deleted" },
      signal ? { signal } : {},
    ),
  )
  const before = answer.data?.runs[0]?.tags ?? null
  return (
    <Dialog title={`Edit ${visible(row.name, 80)}`} onClose={onClose}>
      {answer.error ? (
        <Failed what="The run could not be read" error={answer.error} onRetry={answer.retry} />
      ) : before === null ? (
        <Loading rows={4} />
      ) : (
        <EditForm
          row={row}
          before={before}
          onDone={(name) => {
            list.amend(row.id, { name })
            list.refresh()
            tell({ text: `${visible(name, 60)} is saved` })
            onClose()
          }}
        />
      )}
    </Dialog>
  )
}

function EditForm({
  row,
  before,
  onDone,
}: {
  row: RunRow
  before: readonly Tag[]
  onDone: (name: string) => void
}) {
  const noteBefore = before.find((tag) => tag.key === "mlflow.note.content")?.value ?? ""
  const ownBefore = before.filter((tag) => !HIDDEN_TAGS.test(tag.key))
  const [name, setName] = useState(row.name)
  const [note, setNote] = useState(noteBefore)
  const [tags, setTags] = useState<readonly Tag[]>(ownBefore)
  const [error, setError] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)
  const save = async (): Promise<void> => {
    setBusy(true)
    setError(null)
    try {
      if (name !== row.name) await actOnRun(row.id, "rename", { value: name })
      if (note !== noteBefore) await actOnRun(row.id, "tag", { key: "mlflow.note.content", value: note })
      await saveTags(row.id, ownBefore, tags)
      onDone(name)
    } catch (failure) {
      setError(failure instanceof Error ? failure : new Error(String(failure)))
      setBusy(false)
    }
  }
  return (
    <form
      className="w-edit-run"
      onSubmit={(event) => {
        event.preventDefault()
        void save()
      }}
    >
      <label>
        Name
        <input className="w-input" value={name} maxLength={250} onChange={(e) => setName(e.target.value)} />
      </label>
      <label>
        Notes (Markdown)
        <textarea className="w-input" rows={5} value={note} onChange={(e) => setNote(e.target.value)} />
      </label>
      <TagFields tags={tags} onTags={setTags} />
      {error && <Failed what="Not all of it is saved" error={error} />}
      <div className="w-edit-foot">
        <Button type="submit" kind="primary" disabled={isBusy || !name.trim()}>
          {isBusy ? "Saving…" : "Save"}
        </Button>
      </div>
    </form>
  )
}
