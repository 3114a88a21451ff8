import { expect, it } from "vitest"

import { parseCsv } from "./artifact"

it("reads CSV as it is written", () => {
  const text = 'a,b\r\n"x ""y"", z","two\nlines"\n=1+1,\nlast'
  expect(parseCsv(text, { rows: 10, columns: 10 })).toEqual([
    ["a", "b"],
    ['x "y", z', "two\nlines"],
    ["=1+1", ""],
    ["last"],
  ])
  expect(parseCsv("1,2,3\n4,5,6\n7,8,9", { rows: 2, columns: 2 })).toEqual([
    ["1", "2"],
    ["4", "5"],
  ])
})
