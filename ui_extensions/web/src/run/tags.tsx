import { useMemo, useState } from "react"

import { Button } from "../controls/button"
import { Failed } from "../controls/state"
import type { Tag } from "../runs/tag-fields"
import { saveTags, TagFields } from "../runs/tag-fields"
import { ownTags } from "./facts"
import { Pairs } from "./found-table"
import type { TabProps } from "./tab-props"

/** The tags that somebody set, edited in place. */
export function Tags({ run, onChanged }: TabProps) {
  const tags = useMemo(() => ownTags(run), [run])
  const [isEdited, setEdited] = useState(false)
  if (isEdited) {
    return (
      <EditTags
        runId={run.id}
        kept={tags}
        onClose={(isSaved) => {
          setEdited(false)
          if (isSaved) onChanged()
        }}
      />
    )
  }
  return (
    <Pairs
      id="w-tags"
      title="Tags"
      noun="Tag"
      all={tags}
      total={tags.length}
      empty="No tag was set."
      action={
        run.may_edit && (
          <Button kind="quiet" isSmall icon="edit" onClick={() => setEdited(true)}>
            {tags.length > 0 ? "Edit tags" : "Set tags"}
          </Button>
        )
      }
    />
  )
}

function EditTags({
  runId,
  kept,
  onClose,
}: {
  runId: string
  kept: readonly [string, string][]
  onClose: (isSaved: boolean) => void
}) {
  // What they were when editing began: what another one sets meanwhile is left alone.
  const [before] = useState(() => kept.map(([key, value]): Tag => ({ key, value })))
  const [tags, setTags] = useState<readonly Tag[]>(
    before.length > 0 ? before : [{ key: "", value: "" }],
  )
  const [error, setError] = useState<Error | null>(null)
  const [isSaving, setSaving] = useState(false)
  const save = async (): Promise<void> => {
    setSaving(true)
    setError(null)
    try {
      await saveTags(runId, before, tags)
      onClose(true)
    } catch (failed) {
      setError(failed instanceof Error ? failed : new Error(String(failed)))
      setSaving(false)
    }
  }
  return (
    <form
      className="w-notes-form"
      aria-label="Tags"
      onSubmit={(event) => {
        event.preventDefault()
        void save()
      }}
    >
      <TagFields tags={tags} onTags={setTags} />
      {error && <Failed what="Not all tags are saved" error={error} />}
      <div className="w-row">
        <Button kind="primary" type="submit" disabled={isSaving}>
          Save tags
        </Button>
        <Button onClick={() => onClose(false)} disabled={isSaving}>
          Cancel
        </Button>
      </div>
    </form>
  )
}
