import { useState } from "react"

import { Button, IconButton } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { Failed, Loading } from "../controls/state"
import { useAsked } from "../api/use-answer"
import { call } from "../api/client"
import { visible } from "../text/visible"
import type { Done, RunRow } from "./api"
import { useWorkspace } from "./workspace-context"

const HIDDEN_TAGS = /^(mlflow|weir)\./

interface Tag {
  readonly key: string
  readonly value: string
}

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
  const act = async (action: string, more: Record<string, string>): Promise<void> => {
    const done = await call<Done>("runs/act", { run_ids: [row.id], action, ...more })
    const [failed] = done.failed
    if (failed) throw new Error(failed.error || `the server answers ${failed.status}`)
  }
  const save = async (): Promise<void> => {
    setBusy(true)
    setError(null)
    try {
      if (name !== row.name) await act("rename", { value: name })
      if (note !== noteBefore) await act("tag", { key: "mlflow.note.content", value: note })
      const kept = new Map(tags.filter((tag) => tag.key.trim()).map((tag) => [tag.key.trim(), tag.value]))
      for (const tag of ownBefore) if (!kept.has(tag.key)) await act("untag", { key: tag.key })
      for (const [key, value] of kept) {
        if (ownBefore.find((tag) => tag.key === key)?.value !== value) await act("tag", { key, value })
      }
      onDone(name)
    } catch (failure) {
      setError(failure instanceof Error ? failure : new Error(String(failure)))
      setBusy(false)
    }
  }
  const setTag = (at: number, change: Partial<Tag>): void =>
    setTags(tags.map((tag, i) => (i === at ? { ...tag, ...change } : tag)))
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
      <fieldset>
        <legend>Tags</legend>
        {tags.map((tag, at) => (
          <div key={at} className="w-edit-tag">
            <input
              className="w-input"
              aria-label="Tag"
              placeholder="tag"
              value={tag.key}
              onChange={(e) => setTag(at, { key: e.target.value })}
            />
            <input
              className="w-input"
              aria-label={`Value of ${tag.key || "the new tag"}`}
              placeholder="value"
              value={tag.value}
              onChange={(e) => setTag(at, { value: e.target.value })}
            />
            <IconButton
              icon="close"
              label={`Remove ${tag.key || "the new tag"}`}
              isSmall
              onClick={() => setTags(tags.filter((_, i) => i !== at))}
            />
          </div>
        ))}
        <Button isSmall icon="plus" onClick={() => setTags([...tags, { key: "", value: "" }])}>
          Tag
        </Button>
      </fieldset>
      {error && <Failed what="Not all of it is saved" error={error} />}
      <div className="w-edit-foot">
        <Button type="submit" kind="primary" disabled={isBusy || !name.trim()}>
          {isBusy ? "Saving…" : "Save"}
        </Button>
      </div>
    </form>
  )
}
