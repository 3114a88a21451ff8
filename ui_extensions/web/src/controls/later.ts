/** Parts whose code is fetched when they are first shown. */

import type { ComponentType, FunctionComponent } from "react"
import { createElement, use } from "react"

/** The code of a part did not come. */
export class CodeMissing extends Error {}

const forgetters = new Set<() => void>()

/** Let parts whose code did not come be asked for again. */
export function forgetMissing(): void {
  for (const forget of forgetters) forget()
  forgetters.clear()
}

/**
 * A part that comes when it is first shown, below a `Suspense`. React's `lazy` keeps a failure for
 * as long as the page is open; of this one, a boundary's *Retry* asks for the code again.
 */
export function later<P extends object>(
  load: () => Promise<ComponentType<P>>,
): FunctionComponent<P> {
  let found: Promise<ComponentType<P>> | null = null
  const ask = (): Promise<ComponentType<P>> => {
    found ??= load().catch(() => {
      forgetters.add(() => {
        found = null
      })
      throw new CodeMissing("the server does not answer")
    })
    return found
  }
  return function Later(props: P) {
    return createElement(use(ask()), props)
  }
}

/** A server that was upgraded has the code of another page; then that page is the one to show. */
export async function reloadIfUpgraded(): Promise<void> {
  const { src = "" } = document.querySelector<HTMLScriptElement>('script[type="module"][src]') ?? {}
  const name = src.slice(src.lastIndexOf("/") + 1)
  if (name === "") return
  try {
    const answer = await fetch(location.href, { cache: "no-store" })
    if (answer.ok && !(await answer.text()).includes(name)) location.reload()
  } catch {
    // The server is away.
  }
}
