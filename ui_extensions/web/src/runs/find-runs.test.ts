import { expect, test } from "vitest"

import type { RunRow } from "./api"
import { pastedId, stillFound } from "./find-runs"

const ID = "0123456789abcdef".repeat(2)

function row(name: string, id: string): RunRow {
  return { id, name } as RunRow
}

test("runs of an older text stay while they match the newer one", () => {
  const rows = [row("Colour 1", "a1"), row("resnet", "b2"), row("", "c3")]
  expect(stillFound(rows, " colour").map((one) => one.id)).toEqual(["a1"])
  expect(stillFound(rows, "c3").map((one) => one.id)).toEqual(["c3"])
  expect(stillFound(rows, "")).toEqual(rows)
  expect(stillFound(rows, "nothing")).toEqual([])
})

test("an id is found in an address", () => {
  expect(pastedId(`http://host/#/experiments/1/runs/${ID}`)).toBe(ID)
  expect(pastedId(`${ID}0`)).toBeNull()
})
