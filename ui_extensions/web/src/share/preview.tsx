import { useEffect, useState } from "react"

import { isAbort } from "../api/client"
import { Failed, Loading } from "../controls/state"
import type { NewShare } from "./api"
import { createShare } from "./api"
import { addressOf } from "./shares"

const REST_MS = 600
// A preview lives ten minutes: before that another one is made.
const RENEW_MS = 8 * 60_000

/** The page that visitors will get, by a link of its own that lives minutes and is in no list. */
export function Preview({ share }: { share: NewShare }) {
  const [address, setAddress] = useState<string | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const [attempt, setAttempt] = useState(0)
  const question = JSON.stringify(share)
  useEffect(() => {
    const abort = new AbortController()
    const ask = (): void => {
      createShare(JSON.parse(question) as NewShare, { signal: abort.signal }).then(
        ({ token }) => {
          if (abort.signal.aborted) return
          setAddress(addressOf(token))
          setError(null)
        },
        (failure: unknown) => {
          if (!isAbort(failure) && !abort.signal.aborted) setError(failure as Error)
        },
      )
    }
    const timer = window.setTimeout(ask, REST_MS)
    const renewal = window.setInterval(ask, RENEW_MS)
    return () => {
      window.clearTimeout(timer)
      window.clearInterval(renewal)
      abort.abort()
    }
  }, [question, attempt])
  return (
    <section className="w-share-preview" aria-label="What visitors will see">
      <h3>What visitors will see</h3>
      {error ? (
        <Failed
          what="The preview could not be made"
          error={error}
          onRetry={() => setAttempt((n) => n + 1)}
        />
      ) : address === null ? (
        <Loading label="Making the preview" rows={8} />
      ) : (
        // Another address is another page, not an entry of the history to go back to.
        <iframe key={address} title="Preview of the shared page" src={address} />
      )}
    </section>
  )
}
