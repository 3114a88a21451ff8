/** What readers say of a report: of all of it, or of words that are selected. */

import { useEffect, useState } from "react"

import { Button, IconButton } from "../controls/button"
import { Checkbox } from "../controls/input"
import { Failed, Loading } from "../controls/state"
import { useAsked } from "../api/use-answer"
import { ago, count, dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { Comment, CommentAction } from "./api"
import { comments as ask } from "./api"

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

export function Comments({ reportId }: { reportId: string }) {
  const answer = useAsked(`comments ${reportId}`, (options) => ask(reportId, null, options))
  const [said, setSaid] = useState<readonly Comment[] | null>(null)
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
  const all = said ?? answer.data
  const act = async (action: CommentAction): Promise<boolean> => {
    setSending(true)
    setError(null)
    try {
      setSaid(await ask(reportId, action))
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
            {one.quote && <blockquote dir="auto">{visible(one.quote, MAX_QUOTE)}</blockquote>}
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
          className="w-input"
          aria-label="Comment"
          placeholder="Comment; select words to comment on these"
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

