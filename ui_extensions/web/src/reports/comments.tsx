/** What readers say of a report: of all of it, of words that are selected, or of a panel. */

import { useEffect, useRef, useState } from "react"

import { Button, IconButton } from "../controls/button"
import { Checkbox } from "../controls/input"
import { Failed, Loading } from "../controls/state"
import type { Answer } from "../api/use-answer"
import { useAsked } from "../api/use-answer"
import { ago, count, dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { Comment, CommentAction } from "./api"
import { comments as ask } from "./api"
import type { Panel } from "./document"
import type { Names } from "./remarks"
import { panelOfComment, showPanel } from "./remarks"

const MAX_TEXT = 5_000
const MAX_QUOTE = 250

/** The words of the report that are selected; "" where none are. */
function selectedWords(): string {
  const selection = window.getSelection()
  const anchor = selection?.anchorNode
  const place = anchor instanceof Element ? anchor : anchor?.parentElement
  if (!selection || !place?.closest(".w-report-body")) return ""
  return selection.toString().replace(/\s+/g, " ").trim().slice(0, MAX_QUOTE)
}

export interface Said {
  /** Null before they are there. */
  readonly all: readonly Comment[] | null
  readonly answer: Answer<readonly Comment[]>
  readonly keep: (comments: readonly Comment[]) => void
}

/** The comments of a report. @param reportId Null asks nothing. */
export function useComments(reportId: string | null): Said {
  const answer = useAsked(reportId === null ? null : `comments ${reportId}`, (options) =>
    ask(reportId ?? "", null, options),
  )
  const [kept, setKept] = useState<{ readonly of: string | null; readonly all: readonly Comment[] } | null>(null)
  const all = kept?.of === reportId ? (kept?.all ?? null) : answer.data
  return { all, answer, keep: (comments) => setKept({ of: reportId, all: comments }) }
}

export function Comments({
  reportId,
  names,
  said,
  wanted,
}: {
  reportId: string
  /** Of the panels of the report that is shown. */
  names: Names
  said: Said
  /** The panel that somebody wants to comment on; another object each time. */
  wanted: { readonly panel: Panel } | null
}) {
  const { all, answer, keep } = said
  const field = useRef<HTMLTextAreaElement>(null)
  const [error, setError] = useState<Error | null>(null)
  const [text, setText] = useState("")
  // What it is about: words that are quoted, or a panel, whose name is.
  const [of, setOf] = useState<{ quote: string; panel?: string }>({ quote: "" })
  const [showsSettled, showSettled] = useState(false)
  const [isSending, setSending] = useState(false)
  useEffect(() => {
    const follow = (): void => {
      const words = selectedWords()
      if (words) setOf({ quote: words })
    }
    document.addEventListener("selectionchange", follow)
    return () => document.removeEventListener("selectionchange", follow)
  }, [])
  useEffect(() => {
    if (wanted === null) return
    const { id } = wanted.panel
    setOf({ quote: names.get(wanted.panel) ?? "", ...(id !== undefined && { panel: id }) })
    field.current?.focus()
  }, [wanted])
  const act = async (action: CommentAction): Promise<boolean> => {
    setSending(true)
    setError(null)
    try {
      keep(await ask(reportId, action))
      return true
    } catch (failure) {
      setError(failure instanceof Error ? failure : new Error(String(failure)))
      return false
    } finally {
      setSending(false)
    }
  }
  const nSettled = (all ?? []).filter((one) => one.resolved_ms !== null).length
  const shown = (all ?? []).filter((one) => showsSettled || one.resolved_ms === null)
  return (
    <section className="w-comments" aria-label="Comments">
      <h3>Comments {all && all.length > nSettled && <span className="w-secondary">{count(all.length - nSettled)}</span>}</h3>
      {answer.error && <Failed what="The comments could not be read" error={answer.error} onRetry={answer.retry} />}
      {error && <Failed what="That did not work" error={error} />}
      {all === null && !answer.error && <Loading label="Loading the comments" rows={2} />}
      {all?.length === 0 && <p className="w-secondary">None yet.</p>}
      <ul>
        {shown.map((one) => (
          <li key={one.id} className={one.resolved_ms === null ? undefined : "w-comment-settled"}>
            <header>
              <strong>{visible(one.author ?? "Somebody", 60)}</strong>{" "}
              <span className="w-secondary" title={dateTime(one.at_ms)}>
                {ago(one.at_ms)}
              </span>
              <span className="w-comment-actions">
                {one.may_resolve && (
                  <IconButton
                    icon={one.resolved_ms === null ? "check" : "undo"}
                    label={one.resolved_ms === null ? "Settled" : "Not settled after all"}
                    isSmall
                    onClick={() => void act({ action: one.resolved_ms === null ? "resolve" : "reopen", comment: one.id })}
                  />
                )}
                {one.may_delete && (
                  <IconButton icon="trash" label="Delete the comment" isSmall onClick={() => void act({ action: "delete", comment: one.id })} />
                )}
              </span>
            </header>
            <About comment={one} names={names} />
            <p dir="auto">{visible(one.text, MAX_TEXT)}</p>
            {one.resolved_ms !== null && (
              <p className="w-secondary">
                settled {ago(one.resolved_ms)}
                {one.resolved_by && ` by ${visible(one.resolved_by, 60)}`}
              </p>
            )}
          </li>
        ))}
      </ul>
      {nSettled > 0 && (
        <Checkbox label={`Show ${count(nSettled)} settled`} isChecked={showsSettled} onChange={showSettled} />
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void act({ action: "add", text, ...of }).then((isDone) => {
            if (!isDone) return
            setText("")
            setOf({ quote: "" })
          })
        }}
      >
        {of.quote && (
          <blockquote>
            {visible(of.quote, MAX_QUOTE)}
            <IconButton icon="close" label="Without these words" isSmall onClick={() => setOf({ quote: "" })} />
          </blockquote>
        )}
        <textarea
          ref={field}
          className="w-input"
          aria-label="Comment"
          placeholder="Comment; select words, or use a panel's Comment, to say of what"
          rows={2}
          maxLength={MAX_TEXT}
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
        <Button isSmall type="submit" disabled={isSending || text.trim() === ""}>
          Comment
        </Button>
      </form>
    </section>
  )
}


/** What a comment is about: words that it quotes, or a panel as it is called now, which it leads to. */
function About({ comment, names }: { comment: Comment; names: Names }) {
  const panel = panelOfComment(comment, names)
  if (panel === null && comment.quote === "") return null
  return (
    <blockquote dir="auto">
      {panel === null ? (
        <>
          {visible(comment.quote, MAX_QUOTE)}
          {comment.panel !== null && " (not in the report any more)"}
        </>
      ) : (
        <button type="button" className="w-comment-panel" onClick={() => showPanel(panel, names)}>
          {visible(names.get(panel) ?? "", MAX_QUOTE)}
        </button>
      )}
    </blockquote>
  )
}
