/**
 * Every panel in the editor has an id that no other has: comments are bound to it. It stays with a
 * panel that is renamed, changed or moved; a copy gets one of its own.
 */

import { Extension } from "@tiptap/core"
import type { Node as DocumentNode } from "@tiptap/pm/model"
import type { EditorState, Transaction } from "@tiptap/pm/state"
import { Plugin } from "@tiptap/pm/state"

const BYTES = 8

function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(BYTES))
  return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("")
}

interface Found {
  readonly pos: number
  readonly panel: Readonly<Record<string, unknown>>
  readonly id: string | null
}

function panelsIn(document: DocumentNode): Found[] {
  const found: Found[] = []
  document.descendants((node, pos) => {
    const panel = node.type.name === "panel" ? (node.attrs.panel as Found["panel"] | null) : null
    if (panel) found.push({ pos, panel, id: typeof panel.id === "string" ? panel.id : null })
  })
  return found
}

/** What gives ids to panels that came without one, or with that of another; null where none did. */
export function withIds(changes: readonly Transaction[], before: EditorState, after: EditorState): Transaction | null {
  if (!changes.some((one) => one.docChanged)) return null
  const panels = panelsIn(after.doc)
  const old = new Map<string | null, number>()
  for (const { id, pos } of panelsIn(before.doc)) {
    old.set(id, changes.reduce((at, one) => one.mapping.map(at), pos))
  }
  // Of several with one id it is that of the one which had it before.
  const owners = new Map<string, Found>()
  for (const one of panels) {
    if (one.id === null) continue
    if (!owners.has(one.id) || old.get(one.id) === one.pos) owners.set(one.id, one)
  }
  const nameless = panels.filter((one) => one.id === null || owners.get(one.id) !== one)
  if (nameless.length === 0) return null
  const change = after.tr
  for (const { pos, panel } of nameless) {
    change.setNodeAttribute(pos, "panel", { ...panel, id: newId() })
  }
  return change
}

export const PanelIds = Extension.create({
  name: "panelIds",
  addProseMirrorPlugins: () => [new Plugin({ appendTransaction: withIds })],
})
