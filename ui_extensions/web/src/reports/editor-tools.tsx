/** What is done to the text: the bar above it, and the list that `/` opens. */

import type { Editor } from "@tiptap/react"
import { useEditorState } from "@tiptap/react"
import { useEffect, useMemo, useRef, useState } from "react"

import { Button, IconButton } from "../controls/button"
import type { MenuItem } from "../controls/menu"
import { Menu, Popover } from "../controls/menu"
import { fuzzyScore } from "../text/fuzzy"
import { safeLink } from "../text/visible"

export interface InsertItem {
  readonly label: string
  readonly about: string
  readonly run: (editor: Editor) => void
}

const ROWS = 3

/** Everything that can be put into a report. */
export function insertItems(own: { onPanel: () => void; onPicture: () => void }): InsertItem[] {
  return [
    { label: "Charts and runs", about: "live or frozen", run: own.onPanel },
    { label: "Heading", about: "#", run: (editor) => editor.chain().focus().setHeading({ level: 1 }).run() },
    { label: "Subheading", about: "##", run: (editor) => editor.chain().focus().setHeading({ level: 2 }).run() },
    { label: "Small heading", about: "###", run: (editor) => editor.chain().focus().setHeading({ level: 3 }).run() },
    { label: "Bulleted list", about: "-", run: (editor) => editor.chain().focus().toggleBulletList().run() },
    { label: "Numbered list", about: "1.", run: (editor) => editor.chain().focus().toggleOrderedList().run() },
    { label: "To-do list", about: "[ ]", run: (editor) => editor.chain().focus().toggleTaskList().run() },
    { label: "Picture", about: "or paste, or drop", run: own.onPicture },
    {
      label: "Table",
      about: `${ROWS} × ${ROWS}`,
      run: (editor) => editor.chain().focus().insertTable({ rows: ROWS, cols: ROWS, withHeaderRow: true }).run(),
    },
    {
      label: "Call-out",
      about: "note, tip, warning",
      run: (editor) =>
        editor.chain().focus().insertContent({ type: "callout", content: [{ type: "paragraph" }] }).run(),
    },
    { label: "Code", about: "```", run: (editor) => editor.chain().focus().setCodeBlock().run() },
    { label: "Quote", about: ">", run: (editor) => editor.chain().focus().setBlockquote().run() },
    { label: "Formula", about: "TeX", run: (editor) => editor.chain().insertContent({ type: "mathBlock" }).run() },
    { label: "Formula in a line", about: "$x$", run: (editor) => editor.chain().insertContent({ type: "math" }).run() },
    { label: "Contents", about: "the headings", run: (editor) => editor.chain().focus().insertContent({ type: "contents" }).run() },
    { label: "Line", about: "---", run: (editor) => editor.chain().focus().setHorizontalRule().run() },
  ]
}

const MARKS = [
  { name: "bold", label: "Bold (Ctrl B)", text: "B" },
  { name: "italic", label: "Italic (Ctrl I)", text: "I" },
  { name: "underline", label: "Underline (Ctrl U)", text: "U" },
  { name: "strike", label: "Strike through", text: "S" },
  { name: "code", label: "Code (Ctrl E)", text: "<>" },
] as const

function LinkButton({ editor, isOn }: { editor: Editor; isOn: boolean }) {
  const [address, setAddress] = useState("")
  const isGood = safeLink(address) !== null
  return (
    <Popover label="Link" button={{ isSmall: true, kind: "quiet", icon: "link", "aria-label": "Link", "aria-pressed": isOn }}>
      {(close) => (
        <form
          className="w-report-link"
          onSubmit={(event) => {
            event.preventDefault()
            if (!isGood) return
            close()
            const { empty } = editor.state.selection
            const chain = editor.chain().focus()
            if (empty && !isOn) chain.insertContent({ type: "text", text: address, marks: [{ type: "link", attrs: { href: address } }] }).run()
            else chain.extendMarkRange("link").setLink({ href: address }).run()
            setAddress("")
          }}
        >
          <input
            className="w-input"
            aria-label="Address"
            placeholder="https://…"
            value={address}
            onFocus={() => setAddress(String(editor.getAttributes("link").href ?? ""))}
            onChange={(event) => setAddress(event.target.value)}
          />
          <Button kind="primary" isSmall type="submit" disabled={!isGood}>
            Link
          </Button>
          {isOn && (
            <Button
              isSmall
              onClick={() => {
                close()
                editor.chain().focus().extendMarkRange("link").unsetLink().run()
              }}
            >
              Unlink
            </Button>
          )}
        </form>
      )}
    </Popover>
  )
}

function tableItems(editor: Editor): MenuItem[] {
  const run = (does: (chain: ReturnType<Editor["chain"]>) => ReturnType<Editor["chain"]>) => () => {
    does(editor.chain().focus()).run()
  }
  return [
    { label: "Row below", onSelect: run((chain) => chain.addRowAfter()) },
    { label: "Row above", onSelect: run((chain) => chain.addRowBefore()) },
    { label: "Column to the right", onSelect: run((chain) => chain.addColumnAfter()) },
    { label: "Column to the left", onSelect: run((chain) => chain.addColumnBefore()) },
    { label: "Heading row", isFirstOfGroup: true, onSelect: run((chain) => chain.toggleHeaderRow()) },
    { label: "Heading column", onSelect: run((chain) => chain.toggleHeaderColumn()) },
    { label: "Merge or split cells", onSelect: run((chain) => chain.mergeOrSplit()) },
    { label: "Remove the row", icon: "trash", isFirstOfGroup: true, onSelect: run((chain) => chain.deleteRow()) },
    { label: "Remove the column", icon: "trash", onSelect: run((chain) => chain.deleteColumn()) },
    { label: "Remove the table", icon: "trash", onSelect: run((chain) => chain.deleteTable()) },
  ]
}

const LINES = [
  { value: "paragraph", label: "Text" },
  { value: "1", label: "Heading" },
  { value: "2", label: "Subheading" },
  { value: "3", label: "Small heading" },
] as const

export function EditorTools({
  editor,
  items,
  onInsert,
}: {
  editor: Editor
  items: readonly InsertItem[]
  onInsert: (item: InsertItem) => void
}) {
  const state = useEditorState({
    editor,
    selector: ({ editor: now }) => ({
      marks: MARKS.map(({ name }) => now.isActive(name)),
      isLink: now.isActive("link"),
      isTable: now.isActive("table"),
      line: String([1, 2, 3].find((level) => now.isActive("heading", { level })) ?? "paragraph"),
      lists: [now.isActive("bulletList"), now.isActive("orderedList"), now.isActive("taskList")],
      canUndo: now.can().undo(),
      canRedo: now.can().redo(),
    }),
  })
  const chain = (): ReturnType<Editor["chain"]> => editor.chain().focus()
  return (
    <div className="w-report-tools" role="toolbar" aria-label="Text">
      <Menu
        label="Insert"
        align="start"
        button={{ isSmall: true, icon: "plus", children: "Insert" }}
        items={items.map((item) => ({ label: item.label, onSelect: () => onInsert(item) }))}
      />
      <select
        className="w-input"
        aria-label="Kind of line"
        value={state.line}
        onChange={(event) => {
          const level = Number(event.target.value)
          if (Number.isNaN(level)) chain().setParagraph().run()
          else chain().setHeading({ level: level as 1 | 2 | 3 }).run()
        }}
      >
        {LINES.map(({ value, label }) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
      <span className="w-report-tool-group">
        {MARKS.map(({ name, label, text }, at) => (
          <button
            key={name}
            type="button"
            className={`w-button w-button-quiet w-button-small w-tool-${name}`}
            title={label}
            aria-label={label}
            aria-pressed={state.marks[at]}
            onClick={() => chain().toggleMark(name).run()}
          >
            {text}
          </button>
        ))}
        <LinkButton editor={editor} isOn={state.isLink} />
      </span>
      <span className="w-report-tool-group">
        {(["•", "1.", "☐"] as const).map((text, at) => (
          <button
            key={text}
            type="button"
            className="w-button w-button-quiet w-button-small"
            aria-label={`${text} ${["Bulleted list", "Numbered list", "To-do list"][at]}`}
            title={["Bulleted list", "Numbered list", "To-do list"][at]}
            aria-pressed={state.lists[at]}
            onClick={() => {
              if (at === 0) chain().toggleBulletList().run()
              else if (at === 1) chain().toggleOrderedList().run()
              else chain().toggleTaskList().run()
            }}
          >
            {text}
          </button>
        ))}
      </span>
      {state.isTable && (
        <Menu label="Table" button={{ isSmall: true, kind: "quiet", children: "Table" }} align="start" items={tableItems(editor)} />
      )}
      <span className="w-report-tool-group">
        <IconButton icon="undo" label="Undo (Ctrl Z)" isSmall disabled={!state.canUndo} onClick={() => chain().undo().run()} />
        <IconButton icon="redo" label="Redo (Ctrl Shift Z)" isSmall disabled={!state.canRedo} onClick={() => chain().redo().run()} />
      </span>
    </div>
  )
}

/** What `/` offers on an empty line: typed for, arrows and Enter choose. */
export function SlashMenu({
  at,
  items,
  onChoose,
  onClose,
}: {
  at: { left: number; top: number }
  items: readonly InsertItem[]
  onChoose: (item: InsertItem) => void
  /** @param text What stays in the line. */
  onClose: (text: string) => void
}) {
  const box = useRef<HTMLDivElement>(null)
  const [search, setSearch] = useState("")
  const [chosen, setChosen] = useState(0)
  const found = useMemo(
    () => items.filter((item) => fuzzyScore(item.label, search.trim().toLowerCase()) > 0),
    [items, search],
  )
  const closed = useRef(false)
  const close = (text: string): void => {
    if (closed.current) return
    closed.current = true
    onClose(text)
  }
  useEffect(() => {
    const shown = box.current
    if (shown === null) return
    shown.showPopover?.()
    const { width, height } = shown.getBoundingClientRect()
    shown.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`
    shown.style.top = `${Math.max(8, Math.min(at.top, innerHeight - height - 8))}px`
    shown.querySelector("input")?.focus()
  }, [])
  const choose = (item: InsertItem | undefined): void => {
    if (item === undefined) return
    close("")
    onChoose(item)
  }
  return (
    <div ref={box} popover="manual" className="w-menu w-slash" role="dialog" aria-label="Insert">
      <input
        className="w-input"
        role="combobox"
        aria-label="What to insert"
        aria-expanded="true"
        aria-controls="w-slash-list"
        aria-activedescendant={found.length > 0 ? `w-slash-${Math.min(chosen, found.length - 1)}` : undefined}
        placeholder="What to insert"
        value={search}
        onChange={(event) => {
          setSearch(event.target.value)
          setChosen(0)
        }}
        onBlur={() => close("")}
        onKeyDown={(event) => {
          const by = { ArrowDown: 1, ArrowUp: -1 }[event.key]
          if (by !== undefined) {
            event.preventDefault()
            setChosen((now) => (now + by + found.length) % Math.max(1, found.length))
          } else if (event.key === "Enter") {
            event.preventDefault()
            choose(found[Math.min(chosen, found.length - 1)])
          } else if (event.key === "Escape") {
            event.preventDefault()
            close("")
          } else if (event.key === "Backspace" && search === "") {
            event.preventDefault()
            close("")
          } else if (event.key === "/" && search === "") {
            event.preventDefault()
            close("/")
          }
        }}
      />
      <ul id="w-slash-list" role="listbox" aria-label="Insert">
        {found.map((item, place) => (
          <li
            key={item.label}
            id={`w-slash-${place}`}
            role="option"
            aria-selected={place === Math.min(chosen, found.length - 1)}
            // Before the field loses the focus, which closes the list.
            onPointerDown={(event) => {
              event.preventDefault()
              choose(item)
            }}
          >
            {item.label} <span className="w-secondary">{item.about}</span>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p className="w-secondary w-slash-none">Nothing is called that.</p>}
    </div>
  )
}
