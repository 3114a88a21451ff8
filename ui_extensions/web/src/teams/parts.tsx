import { useState } from "react"

import { ApiError } from "../api/client"
import type { Answer } from "../api/use-answer"
import { CopyButton } from "../controls/copy"
import { Dialog } from "../controls/dialog"
import { Empty } from "../controls/state"
import { Button } from "../controls/button"

/** An answer that may be refused because of who asks, in words that say whom to ask. */
export function refusal<T>(answer: Answer<T>, who: string): React.ReactNode {
  const error = answer.error
  if (!(error instanceof ApiError) || error.status !== 403) return null
  return <Empty>{error.message.startsWith("this server") ? `There are no users: ${error.message}.` : who}</Empty>
}

/** What is told once: an address, or a password. */
export function ToldOnce({
  title,
  label,
  text,
  children,
  onDone,
}: {
  title: string
  label: string
  text: string
  children: React.ReactNode
  onDone: () => void
}) {
  return (
    <Dialog
      title={title}
      onClose={onDone}
      footer={
        <Button kind="primary" onClick={onDone}>
          Done
        </Button>
      }
    >
      <div className="w-share-made">
        <label htmlFor="w-told-once">{label}</label>
        <div className="w-share-address">
          <input
            id="w-told-once"
            className="w-input"
            readOnly
            value={text}
            onFocus={(event) => event.target.select()}
          />
          <CopyButton text={text} label="Copy" isWorded />
        </div>
        {children}
      </div>
    </Dialog>
  )
}

/** Something that is done: whether it is going on, and what went wrong. */
export function useDeed(): {
  isBusy: boolean
  fault: Error | null
  run: (deed: () => Promise<void>) => void
} {
  const [isBusy, setBusy] = useState(false)
  const [fault, setFault] = useState<Error | null>(null)
  const run = (deed: () => Promise<void>): void => {
    setBusy(true)
    setFault(null)
    deed()
      .catch((failure: unknown) =>
        setFault(failure instanceof Error ? failure : new Error(String(failure))),
      )
      .finally(() => setBusy(false))
  }
  return { isBusy, fault, run }
}
