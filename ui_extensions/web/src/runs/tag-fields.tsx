import "./tag-fields.css"

import { Button, IconButton } from "../controls/button"
import { call } from "../api/client"
import type { Done } from "./act"

export interface Tag {
  readonly key: string
  readonly value: string
}

/** Fields of a run's tags: keys and values, one more, one less. */
export function TagFields({
  tags,
  onTags,
}: {
  tags: readonly Tag[]
  onTags: (tags: readonly Tag[]) => void
}) {
  const set = (at: number, change: Partial<Tag>): void =>
    onTags(tags.map((tag, i) => (i === at ? { ...tag, ...change } : tag)))
  return (
    <fieldset className="w-edit-tags">
      <legend>Tags</legend>
      {tags.map((tag, at) => (
        <div key={at} className="w-edit-tag">
          <input
            className="w-input"
            aria-label="Tag"
            placeholder="tag"
            value={tag.key}
            onChange={(event) => set(at, { key: event.target.value })}
          />
          <input
            className="w-input"
            aria-label={`Value of ${tag.key || "the new tag"}`}
            placeholder="value"
            value={tag.value}
            onChange={(event) => set(at, { value: event.target.value })}
          />
          <IconButton
            icon="close"
            label={`Remove ${tag.key || "the new tag"}`}
            isSmall
            onClick={() => onTags(tags.filter((_, i) => i !== at))}
          />
        </div>
      ))}
      <Button isSmall icon="plus" onClick={() => onTags([...tags, { key: "", value: "" }])}>
        Tag
      </Button>
    </fieldset>
  )
}

/** Do something to one run. @throws Error with the server's words where it refuses. */
export async function actOnRun(
  runId: string,
  action: string,
  more: Readonly<Record<string, string>>,
): Promise<void> {
  const done = await call<Done>("runs/act", { run_ids: [runId], action, ...more })
  const [failed] = done.failed
  if (failed) throw new Error(failed.error || `the server answers ${failed.status}`)
}

/** Bring a run's tags from what they were to what they are to be; those without a key are none. */
export async function saveTags(
  runId: string,
  before: readonly Tag[],
  after: readonly Tag[],
): Promise<void> {
  const kept = new Map(
    after.filter((tag) => tag.key.trim()).map((tag) => [tag.key.trim(), tag.value]),
  )
  for (const tag of before) if (!kept.has(tag.key)) await actOnRun(runId, "untag", { key: tag.key })
  for (const [key, value] of kept) {
    const old = before.find((tag) => tag.key === key)
    if (old?.value !== value) await actOnRun(runId, "tag", { key, value })
  }
}
