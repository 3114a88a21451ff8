import type { ReactNode } from "react"
import { useEffect } from "react"

import { ThemeSwitch } from "../layout/theme-switch"
import { setTitle } from "../router"
import { dateTime } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { Share } from "./share"

/** What surrounds everything a visitor sees: the title first, and that nothing can be changed. */
export function Shell({
  title,
  about,
  isPadded = true,
  children,
}: {
  title: string
  /** Below the title. */
  about?: ReactNode
  isPadded?: boolean
  children: ReactNode
}) {
  useEffect(() => setTitle(visible(title, 80)), [title])
  return (
    <div className="w-visit">
      <header className="w-visit-head">
        <div className="w-visit-title">
          <h1 dir="auto" title={visible(title)}>
            {visible(title, NAME_LENGTH) || "Shared with Weir"}
          </h1>
          {about && <div className="w-visit-about">{about}</div>}
        </div>
        <ThemeSwitch />
      </header>
      <main id="w-main" tabIndex={-1} className={`w-visit-main${isPadded ? " w-visit-padded" : ""}`}>
        {children}
      </main>
      <footer className="w-visit-foot">Made with Weir</footer>
    </div>
  )
}

/** That it is shared, and of when. */
export function AsOf({ share }: { share: Share }) {
  return (
    <span>
      Shared, read-only
      {!share.is_live && share.as_of_ms !== null && ` · as of ${dateTime(share.as_of_ms)}`}
    </span>
  )
}
