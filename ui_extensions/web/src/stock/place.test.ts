import { describe, expect, it } from "vitest"

import { readHash, shellHash } from "./place"

const RUN = "0123456789abcdef0123456789abcdef"

describe("MLflow's hash", () => {
  it.each([
    ["#/experiments/12/runs?searchFilter=a", { experimentId: "12", runId: null }],
    [`#/experiments/12/runs/${RUN}/model-metrics`, { experimentId: "12", runId: RUN }],
    [`#/runs/${RUN}`, { experimentId: null, runId: RUN }],
    ["#/experiments", { experimentId: null, runId: null }],
    ["#/compare-runs?runs=[]", { experimentId: null, runId: null }],
    ["", { experimentId: null, runId: null }],
  ])("%s", (hash, expected) => {
    expect(readHash(hash)).toEqual({ weir: null, workspace: null, ...expected })
  })

  it("is read for our pages too, with MLflow's workspace", () => {
    expect(readHash(`#/weir/r/${RUN}/console?x=step&workspace=team-a`)).toEqual({
      weir: { path: `/r/${RUN}/console`, query: "?x=step&workspace=team-a" },
      experimentId: null,
      runId: RUN,
      workspace: "team-a",
    })
    expect(readHash("#/weir").weir).toEqual({ path: "/", query: "" })
    expect(readHash("#/weirdo").weir).toBeNull()
  })

  it("is written with the workspace", () => {
    expect(shellHash("/e/1", "team a")).toBe("#/weir/e/1?workspace=team%20a")
    expect(shellHash("/", null)).toBe("#/weir/")
    expect(shellHash("/e/1", "a", "share=1")).toBe("#/weir/e/1?share=1&workspace=a")
  })
})
