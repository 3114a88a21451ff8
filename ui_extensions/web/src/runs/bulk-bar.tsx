import type { ReactNode } from "react"
import { useState } from "react"

import { Button, IconButton } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { Popover } from "../controls/menu"
import { go } from "../router"
import { count } from "../text/format"
import { MoveDialog } from "./move-dialog"
import { useRunActions } from "./run-actions"
import { SelectionBar } from "./selection-bar"
import { useWorkspace } from "./workspace-context"

const MAX_COMPARED = 50

/** What can be done with the runs that are selected; shown while some are. */
export function BulkBar({ children }: { children?: ReactNode }) {
  const { experimentIds, view, selection } = useWorkspace()
  const { act } = useRunActions()
  const { doc } = view
  const [isDeleting, setDeleting] = useState(false)
  const [isMoving, setMoving] = useState(false)
  const ids = [...selection.ids]
  if (ids.length === 0) return null
  return (
    <SelectionBar
      first={
        <Button
          isSmall
          disabled={ids.length < 2 || ids.length > MAX_COMPARED}
          title={`Compare 2 to ${MAX_COMPARED} runs`}
          onClick={() =>
            go(
              { page: "compare", experimentIds: [...experimentIds] },
              new URLSearchParams({ runs: ids.join(","), ...(doc.baseline ? { base: doc.baseline } : {}) }),
            )
          }
        >
          Compare
        </Button>
      }
    >
      <TagButton ids={ids} />
      {children}
      {!doc.showsDeleted && (
        <Button isSmall onClick={() => setMoving(true)}>
          Move
        </Button>
      )}
      {doc.showsDeleted ? (
        <Button
          isSmall
          onClick={() => {
            void act(ids, "restore").then(() => selection.set([]))
          }}
        >
          Restore
        </Button>
      ) : (
        <IconButton icon="trash" label="Delete them" isSmall onClick={() => setDeleting(true)} />
      )}
      {isMoving && (
        <MoveDialog
          ids={ids}
          onClose={() => setMoving(false)}
          onMove={(experiment_id) => {
            setMoving(false)
            void act(ids, "move", { experiment_id }).then(() => selection.set([]))
          }}
        />
      )}
      {isDeleting && (
        <Dialog
          title={`Delete ${count(ids.length)} ${ids.length === 1 ? "run" : "runs"}?`}
          onClose={() => setDeleting(false)}
          footer={
            <>
              <Button onClick={() => setDeleting(false)}>Keep them</Button>
              <Button
                kind="danger"
                onClick={() => {
                  setDeleting(false)
                  void act(ids, "delete").then(() => selection.set([]))
                }}
              >
                Delete
              </Button>
            </>
          }
        >
          Deleted runs can be restored until `mlflow gc` removes them: they are under Deleted runs in
          the list’s eye menu.
        </Dialog>
      )}
    </SelectionBar>
  )
}

function TagButton({ ids }: { ids: readonly string[] }) {
  const { known } = useWorkspace()
  const { act } = useRunActions()
  const [key, setKey] = useState("")
  const [value, setValue] = useState("")
  return (
    <Popover label="Tag the selected runs" button={{ isSmall: true, children: "Tag" }}>
      {(close) => (
        <form
          className="w-tag-form"
          onSubmit={(event) => {
            event.preventDefault()
            close()
            void act(ids, "tag", { key: key.trim(), value })
          }}
        >
          <input
            className="w-input"
            aria-label="Tag"
            placeholder="tag"
            list="w-tag-keys"
            value={key}
            onChange={(event) => setKey(event.target.value)}
          />
          <datalist id="w-tag-keys">
            {(known?.tags ?? [])
              .filter((one) => !/^(mlflow|weir)\./.test(one.key))
              .map((one) => (
                <option key={one.key} value={one.key} />
              ))}
          </datalist>
          <input
            className="w-input"
            aria-label="Value"
            placeholder="value"
            value={value}
            onChange={(event) => setValue(event.target.value)}
          />
          <Button type="submit" kind="primary" disabled={!key.trim()}>
            Tag {count(ids.length)}
          </Button>
          <Button
            disabled={!key.trim()}
            onClick={() => {
              close()
              void act(ids, "untag", { key: key.trim() })
            }}
          >
            Remove
          </Button>
        </form>
      )}
    </Popover>
  )
}
