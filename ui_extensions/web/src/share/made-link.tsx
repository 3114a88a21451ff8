import { useEffect, useId, useRef } from "react"

import { Button } from "../controls/button"
import { CopyButton } from "../controls/copy"
import { visible } from "../text/visible"
import type { Made } from "./api"
import { frameOf } from "./embedding"
import { addressOf } from "./shares"
import { shownWords, untilWords } from "./words"

/** A link that was just made: the one time that its address is shown. */
export function MadeLink({
  made,
  sites,
  onDone,
}: {
  made: Made
  /** Whose pages may show it in a frame. */
  sites: readonly string[]
  onDone: () => void
}) {
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
      {sites.length > 0 && <Embedding address={address} title={share.title} sites={sites} />}
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

/** What puts the page into another one, where the server lets that one have it. */
function Embedding({ address, title, sites }: { address: string; title: string; sites: readonly string[] }) {
  const id = useId()
  const snippet = frameOf(address, title)
  return (
    <div className="w-share-embed">
      <label htmlFor={id}>To show it within a page of {sites.map((one) => visible(one, 80)).join(", ")}</label>
      <div className="w-share-address">
        <textarea
          id={id}
          className="w-input"
          readOnly
          rows={3}
          value={snippet}
          onFocus={(event) => event.target.select()}
        />
        <CopyButton text={snippet} label="Copy the frame" isWorded />
      </div>
    </div>
  )
}
