// @vitest-environment jsdom
import { afterEach, describe, expect, it } from "vitest"

import { go, linkTo, route, setQuery } from "./router"

const RUN = "0123456789abcdef0123456789abcdef"

afterEach(() => history.replaceState(null, "", "/"))

describe("a visitor's place", () => {
  it("is in the fragment, and the address that the server sees stays", () => {
    history.replaceState(null, "", "/mlf/weir/s/token")
    go({ page: "run", runId: RUN, tab: "console" }, new URLSearchParams({ line: "3" }))
    expect(location.pathname + location.search).toBe("/mlf/weir/s/token")
    expect(location.hash).toBe(`#/r/${RUN}/console?line=3`)
    expect(route().place).toEqual({ page: "run", runId: RUN, tab: "console" })
    setQuery(new URLSearchParams({ q: "a b&c#d" }))
    expect(route().query.get("q")).toBe("a b&c#d")
    expect(route().place.page).toBe("run")
  })

  it("is the list wherever it would lead into the server", () => {
    for (const place of [
      { page: "workspace" as const, experimentIds: ["1"] },
      { page: "compare" as const, experimentIds: ["1"] },
      { page: "shared" as const },
    ]) {
      expect(linkTo(place)).toBe("#/")
    }
    for (const hash of ["", "#/", "#/e/1", "#/shared", "#/r/../../x", "#javascript:alert(1)"]) {
      history.replaceState(null, "", `/weir/s/token${hash}`)
      expect(route().place).toEqual({ page: "home" })
    }
  })
})
