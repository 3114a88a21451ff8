import { useState } from "react"

import { Button, IconButton } from "../controls/button"
import { Dialog } from "../controls/dialog"
import { Popover } from "../controls/menu"
import { go } from "../router"
import { count } from "../text/format"
import { MAX_PINS } from "../view/document"
import { setShown, solo } from "./eye"
import { MoveDialog } from "./move-dialog"
import { useWorkspace } from "./workspace-context"

const MAX_COMPARED = 50

/** What can be done with the runs that are selected; shown while some are. */
export function BulkBar() {
  const { experimentIds, view, list, selection, act, firstIds } = useWorkspace()
  const { doc, update } = view
  const [isDeleting, setDeleting] = useState(false)
  const [isMoving, setMoving] = useState(false)
  const ids = [...selection.ids]
  if (ids.length === 0) return null
  const setEye = (shows: boolean): void => {
    const runs = ids.map((id) => ({ id, status: list.row(id)?.status ?? "" }))
    update({ eye: setShown(doc.eye, runs, shows, firstIds) })
  }
  return (
    <div className="w-bulk" role="toolbar" aria-label="Selected runs">
      <span className="w-bulk-n" role="status">
        {count(ids.length)} selected
      </span>
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
      <IconButton icon="eye" label="Draw them" isSmall onClick={() => setEye(true)} />
      <IconButton icon="eyeOff" label="Hide them" isSmall onClick={() => setEye(false)} />
      <Button isSmall onClick={() => update({ eye: solo(ids) })}>
        Only these
      </Button>
      <IconButton
        icon="pin"
        label="Pin them"
        isSmall
        onClick={() => update({ pins: [...new Set([...doc.pins, ...ids])].slice(-MAX_PINS) })}
      />
      <TagButton ids={ids} />
      {!doc.showsDeleted && <IconButton icon="folder" label="Move them" isSmall onClick={() => setMoving(true)} />}
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
      <IconButton icon="close" label="Select none" isSmall onClick={() => selection.set([])} />
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
    </div>
  )
}

function TagButton({ ids }: { ids: readonly string[] }) {
  const { act, known } = useWorkspace()
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
