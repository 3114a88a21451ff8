/** The editor of a report's text: ProseMirror by TipTap, with our own nodes. */

import { OrderedList, TaskItem, TaskList } from "@tiptap/extension-list"
import { Table, TableCell, TableHeader, TableRow } from "@tiptap/extension-table"
import { Placeholder } from "@tiptap/extensions"
import type { Editor } from "@tiptap/react"
import { EditorContent, useEditor } from "@tiptap/react"
import StarterKit from "@tiptap/starter-kit"
import { useEffect, useMemo, useRef, useState } from "react"

import { safeLink } from "../text/visible"
import { clean } from "./clean"
import type { Node } from "./document"
import { NODES } from "./editor-nodes"
import type { InsertItem } from "./editor-tools"
import { EditorTools, insertItems, SlashMenu } from "./editor-tools"

const PLACEHOLDER = "Write, or type / for headings, charts, formulas and more"
const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/webp"]

function isAddress(url: string): boolean {
  return safeLink(url) !== null
}

const EXTENSIONS = [
  StarterKit.configure({
    heading: { levels: [1, 2, 3] },
    orderedList: false,
    link: {
      openOnClick: false,
      autolink: true,
      defaultProtocol: "https",
      isAllowedUri: (url) => isAddress(url),
      shouldAutoLink: isAddress,
      HTMLAttributes: { rel: "noopener noreferrer nofollow", target: null, class: null },
    },
  }),
  OrderedList.extend({ addAttributes: () => ({ start: { default: 1 } }) }),
  TaskList,
  TaskItem.configure({ nested: true }),
  Table.configure({ resizable: false }),
  TableRow,
  TableCell,
  TableHeader,
  Placeholder.configure({ placeholder: PLACEHOLDER }),
  ...NODES,
]

function picturesOf(data: DataTransfer | null): File[] {
  return [...(data?.files ?? [])].filter((file) => PICTURES.includes(file.type))
}

export interface EditorHandle {
  readonly document: () => Node
  readonly editor: Editor
}

export function ReportEditor({
  document,
  onReady,
  onChange,
  onPanel,
  onPicture,
}: {
  document: Node
  onReady: (handle: EditorHandle) => void
  onChange: () => void
  /** A panel is to be made (null), or the one at a place changed. */
  onPanel: (pos: number | null) => void
  /** Keep a picture; returns its id, or null where that failed. */
  onPicture: (file: File) => Promise<string | null>
}) {
  const latest = useRef({ onChange, onPanel, onPicture })
  latest.current = { onChange, onPanel, onPicture }
  const [slash, setSlash] = useState<{ left: number; top: number } | null>(null)
  const made = useRef<Editor | null>(null)
  const addPictures = async (files: readonly File[], at: number | null): Promise<void> => {
    for (const file of files) {
      const image = await latest.current.onPicture(file)
      const editor = made.current
      if (image === null || editor === null || editor.isDestroyed) continue
      const node = { type: "image", attrs: { image, alt: file.name.replace(/\.[a-z]+$/i, "").slice(0, 200) } }
      if (at === null) editor.chain().insertContentAt(editor.state.selection.to, node).focus().run()
      else editor.chain().insertContentAt(Math.min(at, editor.state.doc.content.size), node).run()
    }
  }
  const editor = useEditor({
    extensions: EXTENSIONS,
    content: document as object,
    // The pages' policy has no inline styles; ours are in a file.
    injectCSS: false,
    immediatelyRender: true,
    shouldRerenderOnTransaction: false,
    editorProps: {
      attributes: { "aria-label": "The report", role: "textbox", "aria-multiline": "true", class: "w-report-body" },
      handleKeyDown: (view, event) => {
        const { $from, empty } = view.state.selection
        const isLine = empty && $from.parent.type.name === "paragraph" && $from.parent.content.size === 0
        if (event.key !== "/" || !isLine) return false
        const { left, bottom } = view.coordsAtPos($from.pos)
        setSlash({ left, top: bottom + 4 })
        return true
      },
      handlePaste: (_, event) => {
        const files = picturesOf(event.clipboardData)
        if (files.length === 0 || event.clipboardData?.types.includes("text/html")) return false
        void addPictures(files, null)
        return true
      },
      handleDrop: (view, event) => {
        const files = picturesOf(event.dataTransfer)
        if (files.length === 0) return false
        const at = view.posAtCoords({ left: event.clientX, top: event.clientY })
        void addPictures(files, at?.pos ?? null)
        return true
      },
    },
    onUpdate: () => latest.current.onChange(),
  })
  made.current = editor
  useEffect(() => {
    const storage = editor.storage as unknown as { panel: { edit: (pos: number) => void } }
    storage.panel.edit = (pos) => latest.current.onPanel(pos)
    onReady({ editor, document: () => clean(editor.getJSON() as Node) })
  }, [editor])
  const picker = useRef<HTMLInputElement>(null)
  const items = useMemo(
    () => insertItems({ onPanel: () => latest.current.onPanel(null), onPicture: () => picker.current?.click() }),
    [],
  )
  const insert = (item: InsertItem): void => item.run(editor)
  return (
    <>
      <EditorTools editor={editor} items={items} onInsert={insert} />
      <EditorContent editor={editor} className="w-report-paper" />
      <input
        ref={picker}
        type="file"
        hidden
        multiple
        aria-label="Pictures"
        accept={PICTURES.join()}
        onChange={(event) => {
          void addPictures([...(event.target.files ?? [])], null)
          event.target.value = ""
        }}
      />
      {slash && (
        <SlashMenu
          at={slash}
          items={items}
          onChoose={insert}
          onClose={(text) => {
            setSlash(null)
            editor.commands.focus()
            if (text) editor.commands.insertContent({ type: "text", text })
          }}
        />
      )}
    </>
  )
}
