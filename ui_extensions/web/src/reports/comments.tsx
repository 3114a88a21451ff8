/** What readers say of a report: of all of it, of words that are selected, or of a panel. */

import { useEffect, useMemo, useRef, useState } from "react"

import { Button, IconButton } from "../controls/button"
import { Checkbox } from "../controls/input"
import { Failed, Loading } from "../controls/state"
import type { Answer } from "../api/use-answer"
import { useAsked } from "../api/use-answer"
import { ago, count, dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { Comment, CommentAction } from "./api"
import { comments as ask } from "./api"
import type { Node } from "./document"
import { isPanelName, panelNames, showPanel } from "./remarks"

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

/** How much is said of each panel and not settled, by the name that is quoted. */
export function countsOf(all: readonly Comment[] | null): ReadonlyMap<string, number> {
  const found = new Map<string, number>()
  for (const { quote, resolved_ms: settled } of all ?? []) {
    if (settled === null && isPanelName(quote)) found.set(quote, (found.get(quote) ?? 0) + 1)
  }
  return found
}

export function Comments({
  reportId,
  document: report,
  said,
  wanted,
}: {
  reportId: string
  /** The report that is shown. */
  document: Node
  said: Said
  /** The panel that somebody wants to comment on; another object each time. */
  wanted: { readonly name: string } | null
}) {
  const { all, answer, keep } = said
  const names = useMemo(() => panelNames(report), [report])
  const field = useRef<HTMLTextAreaElement>(null)
  const [error, setError] = useState<Error | null>(null)
  const [text, setText] = useState("")
  const [quote, setQuote] = useState("")
  const [showsSettled, showSettled] = useState(false)
  const [isSending, setSending] = useState(false)
  useEffect(() => {
    const follow = (): void => {
      const words = selectedWords()
      if (words) setQuote(words)
    }
    document.addEventListener("selectionchange", follow)
    return () => document.removeEventListener("selectionchange", follow)
  }, [])
  useEffect(() => {
    if (wanted === null) return
    setQuote(wanted.name)
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
            {one.quote && (
              <blockquote dir="auto">
                {[...names.values()].includes(one.quote) ? (
                  <button type="button" className="w-comment-panel" onClick={() => showPanel(one.quote, names)}>
                    {visible(one.quote, MAX_QUOTE)}
                  </button>
                ) : (
                  visible(one.quote, MAX_QUOTE)
                )}
              </blockquote>
            )}
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
          void act({ action: "add", text, quote }).then((isDone) => {
            if (!isDone) return
            setText("")
            setQuote("")
          })
        }}
      >
        {quote && (
          <blockquote>
            {visible(quote, MAX_QUOTE)}
            <IconButton icon="close" label="Without these words" isSmall onClick={() => setQuote("")} />
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

