/** The nodes of a report that the editor's library has not: pictures, formulas, call-outs, panels, contents. */

import type { NodeViewProps } from "@tiptap/react"
import { InputRule, mergeAttributes, Node as EditorNode, NodeViewContent, NodeViewWrapper, ReactNodeViewRenderer } from "@tiptap/react"
import { useEffect, useRef, useState } from "react"

import { IconButton } from "../controls/button"
import { ErrorBoundary } from "../controls/state"
import { Contents } from "./body"
import type { Node } from "./document"
import { CALLOUT_WORDS, calloutOf, CALLOUTS, headingsOf, panelOf } from "./document"
import { Formula } from "./math"
import { PanelView } from "./panel"
import { PanelIds } from "./panel-ids"
import { Picture } from "./pictures"

const MAX_TEX = 10_000
/** A pasted panel is a question of the reader's own, checked by the server like any other. */
const MAX_PANEL = 100_000

function FormulaView({ node, updateAttributes, selected, editor, getPos, deleteNode }: NodeViewProps) {
  const isBlock = node.type.name === "mathBlock"
  const tex = String(node.attrs.tex ?? "")
  const [isOpen, setOpen] = useState(tex === "")
  const field = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    if (isOpen) field.current?.focus()
  }, [isOpen])
  const close = (): void => {
    setOpen(false)
    if (tex.trim() === "") deleteNode()
    else editor.commands.focus((getPos() ?? 0) + 1)
  }
  return (
    <NodeViewWrapper as={isBlock ? "div" : "span"} className={isBlock ? "w-report-math" : undefined}>
      {isOpen ? (
        <textarea
          ref={field}
          className={`w-input w-tex${isBlock ? "" : " w-tex-inline"}`}
          aria-label="Formula, in TeX"
          rows={isBlock ? 3 : 1}
          cols={isBlock ? 60 : 24}
          maxLength={MAX_TEX}
          spellCheck={false}
          placeholder="\frac{1}{n}\sum_i x_i"
          value={tex}
          onChange={(event) => updateAttributes({ tex: event.target.value })}
          onBlur={close}
          onKeyDown={(event) => {
            const isEnd = event.key === "Escape" || (event.key === "Enter" && (!isBlock || event.metaKey || event.ctrlKey))
            if (!isEnd) return
            event.preventDefault()
            event.currentTarget.blur()
          }}
        />
      ) : null}
      <span
        className={`w-formula-edit${selected ? " w-selected" : ""}`}
        role="button"
        tabIndex={-1}
        title="Change the formula"
        onClick={() => setOpen(true)}
      >
        <Formula tex={tex} isBlock={isBlock} />
      </span>
    </NodeViewWrapper>
  )
}

function texNode(name: "math" | "mathBlock") {
  const isBlock = name === "mathBlock"
  return EditorNode.create({
    name,
    group: isBlock ? "block" : "inline",
    inline: !isBlock,
    atom: true,
    addAttributes: () => ({
      tex: {
        default: "",
        parseHTML: (element: HTMLElement) => (element.getAttribute("data-tex") ?? "").slice(0, MAX_TEX),
        renderHTML: ({ tex }: { tex?: string }) => ({ "data-tex": tex ?? "" }),
      },
    }),
    parseHTML: () => [{ tag: `${isBlock ? "div" : "span"}[data-tex]` }],
    renderHTML: ({ HTMLAttributes }) => [isBlock ? "div" : "span", mergeAttributes(HTMLAttributes)],
    addNodeView: () => ReactNodeViewRenderer(FormulaView, { stopEvent: () => true }),
    addInputRules() {
      if (isBlock) return []
      return [
        new InputRule({
          find: /\$([^$\s](?:[^$\n]*[^$\s])?)\$$/,
          handler: ({ state, range, match }) => {
            state.tr.replaceWith(range.from, range.to, this.type.create({ tex: match[1] }))
          },
        }),
      ]
    },
  })
}

function CalloutView({ node, updateAttributes, editor }: NodeViewProps) {
  const kind = calloutOf(node.attrs.kind)
  return (
    <NodeViewWrapper as="aside" className={`w-callout w-callout-${kind}`}>
      <select
        className="w-callout-kind"
        aria-label="Kind of call-out"
        contentEditable={false}
        disabled={!editor.isEditable}
        value={kind}
        onChange={(event) => updateAttributes({ kind: event.target.value })}
      >
        {CALLOUTS.map((one) => (
          <option key={one} value={one}>
            {CALLOUT_WORDS[one]}
          </option>
        ))}
      </select>
      <NodeViewContent />
    </NodeViewWrapper>
  )
}

const CalloutNode = EditorNode.create({
  name: "callout",
  group: "block",
  content: "block+",
  defining: true,
  addAttributes: () => ({
    kind: {
      default: "note",
      parseHTML: (element: HTMLElement) => calloutOf(element.getAttribute("data-callout")),
      renderHTML: ({ kind }: { kind?: string }) => ({ "data-callout": calloutOf(kind) }),
    },
  }),
  parseHTML: () => [{ tag: "aside[data-callout]" }],
  renderHTML: ({ HTMLAttributes }) => ["aside", mergeAttributes(HTMLAttributes), 0],
  addNodeView: () => ReactNodeViewRenderer(CalloutView),
})

function ImageView({ node, updateAttributes, selected, deleteNode }: NodeViewProps) {
  const { image, alt, caption, width } = node.attrs as { image: string; alt: string; caption: string; width: number | null }
  return (
    <NodeViewWrapper className={`w-edited-picture${selected ? " w-selected" : ""}`} data-drag-handle>
      <Picture image={image} alt={alt} caption="" width={width} />
      <div className="w-edited-fields" contentEditable={false}>
        <input
          className="w-input"
          aria-label="Caption"
          placeholder="Caption"
          maxLength={2_000}
          value={caption}
          onChange={(event) => updateAttributes({ caption: event.target.value })}
        />
        <input
          className="w-input"
          aria-label="What it shows, for who cannot see it"
          placeholder="What it shows, for who cannot see it"
          maxLength={1_000}
          value={alt}
          onChange={(event) => updateAttributes({ alt: event.target.value })}
        />
        <select
          className="w-input"
          aria-label="Width"
          value={width ?? ""}
          onChange={(event) => updateAttributes({ width: event.target.value ? Number(event.target.value) : null })}
        >
          <option value="">As it is</option>
          {[240, 400, 600, 800].map((one) => (
            <option key={one} value={one}>
              {one} px
            </option>
          ))}
        </select>
        <IconButton icon="trash" label="Remove the picture" isSmall onClick={deleteNode} />
      </div>
    </NodeViewWrapper>
  )
}

const ImageNode = EditorNode.create({
  name: "image",
  group: "block",
  atom: true,
  draggable: true,
  addAttributes: () => ({
    image: {
      default: "",
      parseHTML: (element: HTMLElement) => element.getAttribute("data-image"),
      renderHTML: ({ image }: { image?: string }) => ({ "data-image": image }),
    },
    alt: { default: "" },
    caption: { default: "" },
    width: { default: null },
  }),
  // Pictures of other pages are not taken: only what was uploaded has an id.
  parseHTML: () => [{ tag: "figure[data-image]" }],
  renderHTML: ({ HTMLAttributes }) => ["figure", mergeAttributes(HTMLAttributes)],
  addNodeView: () => ReactNodeViewRenderer(ImageView, { stopEvent: ofFields }),
})

/** Keys and clicks in a field are the field's. */
function ofFields({ event }: { event: Event }): boolean {
  return event.target instanceof Element && event.target.closest("input, select, textarea, button, a") !== null
}

function ContentsView({ editor }: NodeViewProps) {
  const [headings, setHeadings] = useState(() => headingsOf(editor.getJSON() as Node))
  useEffect(() => {
    const follow = (): void => setHeadings(headingsOf(editor.getJSON() as Node))
    editor.on("update", follow)
    return () => void editor.off("update", follow)
  }, [editor])
  return (
    <NodeViewWrapper className="w-edited-contents" contentEditable={false}>
      {headings.length === 0 ? (
        <p className="w-secondary">Contents: the headings will be listed here.</p>
      ) : (
        <Contents headings={headings} label="Contents" />
      )}
    </NodeViewWrapper>
  )
}

const ContentsNode = EditorNode.create({
  name: "contents",
  group: "block",
  atom: true,
  parseHTML: () => [{ tag: "nav[data-contents]" }],
  renderHTML: () => ["nav", { "data-contents": "" }],
  addNodeView: () => ReactNodeViewRenderer(ContentsView),
})

/** What the page does when a panel is to be changed: it has the dialog. */
export interface PanelStorage {
  edit: (pos: number) => void
}

function PanelNodeView({ node, selected, getPos, updateAttributes, deleteNode, editor }: NodeViewProps) {
  const panel = panelOf({ type: "panel", attrs: node.attrs })
  const freeze = (clockMs: number): void => {
    if (panel === null) return
    const at = panel.runs.at === null ? Math.round(Date.now() + clockMs) : null
    updateAttributes({ panel: { ...panel, runs: { ...panel.runs, at } } })
  }
  const edit = (): void => {
    const pos = getPos()
    const { panel: kept } = editor.storage as unknown as { panel: PanelStorage }
    if (pos !== undefined) kept.edit(pos)
  }
  return (
    <NodeViewWrapper className={`w-edited-panel${selected ? " w-selected" : ""}`} contentEditable={false} data-drag-handle>
      <ErrorBoundary what="The panel">
        {panel === null ? (
          <p className="w-text-bad">This panel cannot be read.</p>
        ) : (
          <PanelView
            panel={panel}
            actions={(clockMs) => (
              <>
                <button
                  type="button"
                  className="w-card-log"
                  aria-pressed={panel.runs.at !== null}
                  onClick={() => freeze(clockMs)}
                >
                  {panel.runs.at === null ? "Freeze" : "Frozen"}
                </button>
                <IconButton icon="edit" label="Change the panel" isSmall onClick={edit} />
                <IconButton icon="trash" label="Remove the panel" isSmall onClick={deleteNode} />
              </>
            )}
          />
        )}
      </ErrorBoundary>
    </NodeViewWrapper>
  )
}

const PanelNode = EditorNode.create<object, PanelStorage>({
  name: "panel",
  group: "block",
  atom: true,
  draggable: true,
  addStorage: () => ({ edit: () => undefined }),
  addAttributes: () => ({
    panel: {
      default: null,
      parseHTML: (element: HTMLElement) => {
        const text = element.getAttribute("data-panel") ?? ""
        try {
          return text.length > MAX_PANEL ? null : (JSON.parse(text) as unknown)
        } catch {
          return null
        }
      },
      renderHTML: ({ panel }: { panel?: unknown }) => ({ "data-panel": JSON.stringify(panel ?? null) }),
    },
  }),
  parseHTML: () => [{ tag: "section[data-panel]" }],
  renderHTML: ({ HTMLAttributes }) => ["section", mergeAttributes(HTMLAttributes)],
  addNodeView: () =>
    ReactNodeViewRenderer(PanelNodeView, {
      // A chart's own keys and pointers are its own; dragging begins at the head.
      stopEvent: ({ event }) =>
        event.target instanceof Element && event.target.closest(".w-panel-head") === null
          ? !event.type.startsWith("drag")
          : ofFields({ event }),
    }),
})

export const NODES = [texNode("math"), texNode("mathBlock"), CalloutNode, ImageNode, ContentsNode, PanelNode, PanelIds]
