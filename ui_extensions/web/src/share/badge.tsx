import "./share.css"

import { useState } from "react"

import { Button } from "../controls/button"
import { Icon } from "../controls/icon"
import { Popover } from "../controls/menu"
import { PlaceLink } from "../layout/link"
import { count } from "../text/format"
import { visible } from "../text/visible"
import type { Share } from "./api"
import { changeShare } from "./api"
import { sharesChanged, useShares } from "./shares"
import { scopeWords, untilWords } from "./words"

const MOST_LISTED = 5

/** How many links lead into an experiment, beside its name; nothing where there are none. */
export function ShareBadge({ experimentId }: { experimentId: string }) {
  const { data } = useShares(experimentId)
  const active = (data?.shares ?? []).filter((share) => share.state === "active")
  if (active.length === 0) return null
  const words = `${count(active.length)} ${active.length === 1 ? "link" : "links"}`
  return (
    <Popover
      label="Links into this experiment"
      button={{
        isSmall: true,
        kind: "quiet",
        className: "w-share-badge",
        title: "Whoever has one of them sees what it shows",
        children: (
          <>
            <Icon name="link" /> {words}
          </>
        ),
      }}
    >
      {() => (
        <div className="w-share-badge-list">
          <ul>
            {active.slice(0, MOST_LISTED).map((share) => (
              <li key={share.id}>
                <Line share={share} />
              </li>
            ))}
          </ul>
          <PlaceLink to={{ page: "shared" }} query={new URLSearchParams({ e: experimentId })}>
            {active.length > MOST_LISTED ? `All ${words}` : "Manage them"}
          </PlaceLink>
        </div>
      )}
    </Popover>
  )
}

function Line({ share }: { share: Share }) {
  const [fault, setFault] = useState("")
  return (
    <>
      <div>
        <strong className="w-cut" dir="auto" title={visible(share.title)}>
          {visible(share.title, 80)}
        </strong>
        <span className="w-secondary">
          {scopeWords(share)}
          {share.expires_ms !== null && ` · ends ${untilWords(share.expires_ms)}`}
        </span>
        {fault && (
          <span role="alert" className="w-text-bad">
            {fault}
          </span>
        )}
      </div>
      {share.may_manage && (
        <Button
          isSmall
          icon="pause"
          onClick={() =>
            void changeShare(share.id, "pause").then(sharesChanged, (error: Error) =>
              setFault(error.message),
            )
          }
        >
          Pause
        </Button>
      )}
    </>
  )
}
