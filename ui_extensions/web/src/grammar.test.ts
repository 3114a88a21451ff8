import { describe, expect, it } from "vitest"

import { parsePlace, pathOf, queryText } from "./grammar"

const RUN = "0123456789abcdef0123456789abcdef"

describe("the grammar of paths", () => {
  it.each([
    "/",
    "/e/12",
    "/e/12,7",
    "/e/12/compare",
    `/r/${RUN}/console`,
    "/reports",
    "/reports/4f/edit",
    "/shared",
  ])("%s is read and written back", (path) => {
    expect(pathOf(parsePlace(path))).toBe(path)
  })

  it.each([
    "/e/",
    "/e/abc",
    "/e/1/../2",
    "/r/xyz",
    `/r/${RUN}/nothing`,
    `/r/${RUN}/console/deeper`,
    "/constructor",
    "/e/__proto__",
  ])("%s is no page", (path) => {
    expect(parsePlace(path).page).toBe("unknown")
  })

  it("opens a run on its overview", () => {
    expect(parsePlace(`r/${RUN}/`)).toEqual({ page: "run", runId: RUN, tab: "overview" })
  })

  it("names an experiment once", () => {
    expect(parsePlace("/e/3,3,1")).toEqual({ page: "workspace", experimentIds: ["3", "1"] })
  })

  it("keeps what needs escaping escaped", () => {
    const query = new URLSearchParams({ q: "a&b=c#d", s: "twema:0.6" })
    expect(queryText(query)).toBe("?q=a%26b%3Dc%23d&s=twema:0.6")
    expect(new URLSearchParams(queryText(query)).get("q")).toBe("a&b=c#d")
  })
})
