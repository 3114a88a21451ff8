import { useState } from "react"

import { callStock } from "../api/stock"
import { Button } from "../controls/button"
import { Failed } from "../controls/state"
import type { RunFacts } from "./facts"
import { NOTE, tag } from "./facts"
import { NotesText } from "./notes-text"

const MAX_LENGTH = 5_000

/** The run's notes, MLflow's own description: Markdown, edited in place. */
export function Notes({ run, onChanged }: { run: RunFacts; onChanged: () => void }) {
  const kept = tag(run, NOTE) ?? ""
  const [draft, setDraft] = useState<string | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const [isSaving, setSaving] = useState(false)
  const save = async (): Promise<void> => {
    setSaving(true)
    setError(null)
    try {
      await callStock("runs/set-tag", { run_id: run.id, key: NOTE, value: draft ?? "" })
      setDraft(null)
      onChanged()
    } catch (failed) {
      setError(failed instanceof Error ? failed : new Error(String(failed)))
    } finally {
      setSaving(false)
    }
  }
  return (
    <section aria-labelledby="w-notes">
      <div className="w-section-head">
        <h2 id="w-notes" className="w-section-title">
          Notes
        </h2>
        {draft === null && run.may_edit && (
          <Button kind="quiet" isSmall icon="edit" onClick={() => setDraft(kept)}>
            {kept ? "Edit" : "Write notes"}
          </Button>
        )}
      </div>
      {draft === null ? (
        <NotesText text={kept} />
      ) : (
        <form
          className="w-notes-form"
          onSubmit={(event) => {
            event.preventDefault()
            void save()
          }}
        >
          <textarea
            className="w-input"
            aria-label="Notes, in Markdown"
            rows={Math.min(20, Math.max(6, draft.split("\n").length + 1))}
            maxLength={MAX_LENGTH}
            value={draft}
            autoFocus
            onChange={(event) => setDraft(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) void save()
              if (event.key === "Escape" && draft === kept) setDraft(null)
            }}
          />
          {error && <Failed what="The notes were not saved" error={error} />}
          <div className="w-row">
            <Button kind="primary" type="submit" disabled={isSaving || draft === kept}>
              Save
            </Button>
            <Button onClick={() => setDraft(null)} disabled={isSaving}>
              Cancel
            </Button>
            <span className="w-secondary">Markdown · {draft.length} of 5,000 characters</span>
          </div>
        </form>
      )}
    </section>
  )
}
