import { useState } from "react"

import { Button } from "../controls/button"
import { copyText } from "../controls/copy"
import { Dialog } from "../controls/dialog"
import type { MenuItem } from "../controls/menu"
import { Menu } from "../controls/menu"
import { go, route, shareableLink } from "../router"
import { visible } from "../text/visible"
import { deleteView, keepState } from "./api"
import { useView } from "./store"

/** Named views: opened, saved, left; and the link to what is seen. */
export function ViewMenu({
  experimentIds,
  onTell,
}: {
  experimentIds: readonly string[]
  onTell: (text: string) => void
}) {
  const view = useView()
  const [isNaming, setNaming] = useState(false)
  const [isDeleting, setDeleting] = useState(false)
  const { place } = route()
  const told = (failure: unknown): void =>
    onTell(failure instanceof Error ? failure.message : String(failure))
  const title =
    view.kind === "personal"
      ? "My workspace"
      : view.kind === "named"
        ? visible(view.name, 60)
        : "From a link"
  const items: MenuItem[] = [
    {
      label: "My workspace",
      isChecked: view.kind === "personal",
      onSelect: () => go(place, new URLSearchParams()),
    },
    ...view.views.map((one, at) => ({
      label: visible(one.name, 60) || "(no name)",
      isChecked: view.named.view?.id === one.id,
      isFirstOfGroup: at === 0,
      onSelect: () => go(place, new URLSearchParams({ v: `${one.id}@${one.revision}` })),
    })),
    ...(view.kind === "named" && view.mayEdit
      ? [
          {
            label: "Save",
            isFirstOfGroup: true,
            isDisabled: !view.isChanged,
            onSelect: () => void view.save().then(() => onTell("Saved"), told),
          },
        ]
      : []),
    {
      label: "Save as a named view…",
      isFirstOfGroup: view.kind !== "named" || !view.mayEdit,
      isDisabled: !view.mayEdit,
      onSelect: () => setNaming(true),
    },
    ...(view.kind === "personal"
      ? []
      : [{ label: "Reset to how it was saved", isDisabled: !view.isChanged, onSelect: view.reset }]),
    ...(view.kind === "named" && view.mayEdit
      ? [{ label: "Delete this view…", onSelect: () => setDeleting(true) }]
      : []),
  ]
  const copy = async (): Promise<void> => {
    try {
      const query = new URLSearchParams()
      // The card in full screen and the pinned cursor are no part of a view.
      for (const key of ["fs", "cx"]) {
        const value = route().query.get(key)
        if (value !== null) query.set(key, value)
      }
      if (view.kind === "named" && !view.isChanged) {
        query.set("v", `${view.named.view?.id}@${view.named.view?.revision}`)
      } else {
        query.set("st", (await keepState(experimentIds, JSON.stringify(view.doc))).id)
      }
      // A frozen list stays as it is for who opens the link.
      const at = route().query.get("at")
      if (at !== null) query.set("at", at)
      const isDone = await copyText(shareableLink(place, query))
      onTell(isDone ? "The link to what you see is copied" : "The link could not be copied")
    } catch (failure) {
      told(failure)
    }
  }
  return (
    <>
      <Menu
        label="View"
        button={{
          icon: "chevronDown",
          isSmall: true,
          className: "w-view-button",
          children: (
            <span className="w-cut" title={title}>
              <span className="w-not-on-phone">View: </span>
              {title}
              {view.isChanged && (
                <span className="w-view-changed" title="Changed since it was saved">
                  *<span className="w-hidden-text"> changed</span>
                </span>
              )}
            </span>
          ),
        }}
        items={items}
      />
      <Button icon="link" isSmall onClick={() => void copy()}>
        <span className="w-not-on-phone">Copy link</span>
      </Button>
      {isNaming && (
        <NameDialog
          onClose={() => setNaming(false)}
          onSave={async (name) => {
            await view.saveAs(name)
            setNaming(false)
            onTell(`Saved as ${visible(name, 60)}`)
          }}
        />
      )}
      {isDeleting && (
        <Dialog
          title={`Delete the view ${visible(view.name, 60)}?`}
          onClose={() => setDeleting(false)}
          footer={
            <>
              <Button onClick={() => setDeleting(false)}>Keep it</Button>
              <Button
                kind="danger"
                onClick={() => {
                  setDeleting(false)
                  void deleteView(view.named.view?.id ?? "").then(() => {
                    go(place, new URLSearchParams())
                  }, told)
                }}
              >
                Delete
              </Button>
            </>
          }
        >
          All its revisions go, and links to it stop working. Runs are not touched.
        </Dialog>
      )}
    </>
  )
}

function NameDialog({
  onClose,
  onSave,
}: {
  onClose: () => void
  onSave: (name: string) => Promise<void>
}) {
  const [name, setName] = useState("")
  const [fault, setFault] = useState("")
  const [isBusy, setBusy] = useState(false)
  return (
    <Dialog title="Save as a named view" onClose={onClose}>
      <form
        className="w-edit-run"
        onSubmit={(event) => {
          event.preventDefault()
          setBusy(true)
          onSave(name.trim()).catch((failure: unknown) => {
            setBusy(false)
            setFault(failure instanceof Error ? failure.message : String(failure))
          })
        }}
      >
        <label>
          Name
          <input
            className="w-input"
            autoFocus
            maxLength={250}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
        </label>
        <p className="w-hint">Everybody who may read the experiment can open it. Nobody’s changes alter it until they save it.</p>
        {fault && <div role="alert">{fault}</div>}
        <div className="w-edit-foot">
          <Button type="submit" kind="primary" disabled={isBusy || !name.trim()}>
            Save
          </Button>
        </div>
      </form>
    </Dialog>
  )
}

/** Undo, redo, and whether one's own view is saved. */
export function UndoButtons() {
  const view = useView()
  return (
    <span className="w-undo" role="group" aria-label="Changes of the view">
      <Button
        kind="quiet"
        isSmall
        icon="undo"
        aria-label="Undo"
        title="Undo (Ctrl Z)"
        disabled={!view.canUndo}
        onClick={view.undo}
      />
      <Button
        kind="quiet"
        isSmall
        icon="redo"
        aria-label="Redo"
        title="Redo (Ctrl Shift Z)"
        disabled={!view.canRedo}
        onClick={view.redo}
      />
    </span>
  )
}

/** What has to be known about saving, and what can be done about it. */
export function SavingNote() {
  const view = useView()
  if (view.broken !== null) {
    return (
      <div role="alert" className="w-note-warn w-saving">
        Your saved view could not be read; this is the default one.
        <Button isSmall onClick={() => download(view.broken ?? "")}>
          Download the saved one
        </Button>
        <Button isSmall onClick={view.overwrite}>
          Replace it
        </Button>
      </div>
    )
  }
  if (view.kind !== "personal") return null
  if (view.saving === "conflict") {
    return (
      <div role="alert" className="w-note-warn w-saving">
        Your workspace was changed in another tab or browser.
        <Button isSmall onClick={view.reload}>
          Take that one
        </Button>
        <Button isSmall onClick={view.overwrite}>
          Keep this one
        </Button>
      </div>
    )
  }
  if (view.saving !== "failed") return null
  return (
    <div role="status" className="w-note-warn w-saving">
      Not saved: the server does not take it. It is tried again.
    </div>
  )
}

function download(text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }))
  const link = document.createElement("a")
  link.href = url
  link.download = "weir-view.json"
  link.click()
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
