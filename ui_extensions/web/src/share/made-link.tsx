import { useEffect, useId, useRef } from "react"

import { Button } from "../controls/button"
import { CopyButton } from "../controls/copy"
import type { Made } from "./api"
import { addressOf } from "./shares"
import { shownWords, untilWords } from "./words"

/** A link that was just made: the one time that its address is shown. */
export function MadeLink({ made, onDone }: { made: Made; onDone: () => void }) {
  const id = useId()
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => field.current?.select(), [])
  const { share } = made
  const address = addressOf(made.token)
  return (
    <div className="w-share-made">
      <label htmlFor={id}>The link, shown this once</label>
      <div className="w-share-address">
        <input
          ref={field}
          id={id}
          className="w-input"
          readOnly
          value={address}
          onFocus={(event) => event.target.select()}
        />
        <CopyButton text={address} label="Copy" isWorded />
      </div>
      <p>
        Whoever has it sees {shownWords(share.shown)}.{" "}
        {share.has_password && "They need the password too. "}
        {share.expires_ms === null ? "It does not end by itself." : `It ends ${untilWords(share.expires_ms)}.`}
      </p>
      <p className="w-secondary">
        The server keeps no copy of it. Under <em>Shared</em> it can be paused, revoked, or replaced by
        a new one.
      </p>
      <div className="w-share-foot">
        <a className="w-button w-button-plain" href={address} target="_blank" rel="noopener noreferrer">
          Open it
        </a>
        <Button kind="primary" onClick={onDone}>
          Done
        </Button>
      </div>
    </div>
  )
}
