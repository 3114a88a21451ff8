// @vitest-environment jsdom
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react"
import { Suspense } from "react"
import { afterEach, describe, expect, it, vi } from "vitest"

import { later } from "./later"
import { LaterDialog } from "./later-dialog"
import { ErrorBoundary } from "./state"

afterEach(() => {
  cleanup()
  vi.restoreAllMocks()
})

/** A part whose code comes when `isThere`, and how often it was asked for. */
function partThat(isThere: () => boolean) {
  const load = vi.fn(async () => {
    if (!isThere()) throw new TypeError("Failed to fetch dynamically imported module")
    return ({ name }: { name: string }) => <p>part of {name}</p>
  })
  return { Part: later(load), load }
}

describe("a part whose code did not come", () => {
  it("says so, is not asked for on and on, and comes at Retry and in the tab that is opened next", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined)
    let isThere = false
    const { Part, load } = partThat(() => isThere)
    const tab = (name: string) => (
      <ErrorBoundary what="The tab" resetKey={name}>
        <Suspense fallback="loading">
          <Part name={name} />
        </Suspense>
      </ErrorBoundary>
    )
    const { rerender } = await act(async () => render(tab("one")))
    await screen.findByText("The tab cannot be shown: the server does not answer.")
    expect(load).toHaveBeenCalledTimes(1)
    await act(async () => fireEvent.click(screen.getByText("Retry")))
    await screen.findByText("The tab cannot be shown: the server does not answer.")
    expect(load).toHaveBeenCalledTimes(2)
    isThere = true
    await act(async () => rerender(tab("two")))
    await screen.findByText("part of two")
    await act(async () => rerender(tab("three")))
    expect(load).toHaveBeenCalledTimes(3)
  })

  it("takes nothing around its dialog with it", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined)
    let isThere = false
    const { Part } = partThat(() => isThere)
    const close = vi.fn()
    await act(async () =>
      render(
      <ErrorBoundary what="The page">
        <p>the page</p>
        <LaterDialog title="Share" onClose={close}>
          <Part name="share" />
        </LaterDialog>
      </ErrorBoundary>,
      ),
    )
    await screen.findByText("This cannot be shown: the server does not answer.")
    expect(screen.getByText("the page")).toBeTruthy()
    fireEvent.click(screen.getByLabelText("Close"))
    expect(close).toHaveBeenCalledTimes(1)
    isThere = true
    await act(async () => fireEvent.click(screen.getByText("Retry")))
    await screen.findByText("part of share")
  })
})
