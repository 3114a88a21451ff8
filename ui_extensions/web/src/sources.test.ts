import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const HERE = fileURLToPath(new URL(".", import.meta.url))
const SOURCES = readdirSync(HERE, { recursive: true, encoding: "utf8" }).filter((name) =>
  /\.(tsx?|js)$/.test(name),
)

// Text from anybody reaches these pages; none of it may become markup or code.
const FORBIDDEN = [
  "dangerouslySet" + "InnerHTML",
  "inner" + "HTML",
  "outer" + "HTML",
  "insertAdjacent" + "HTML",
  "document" + ".write",
  "ev" + "al(",
  "new Func" + "tion(",
  "srcdoc" + "=",
  "setAttribute(" + '"style"',
]

describe("every source", () => {
  it("is found", () => {
    expect(SOURCES.length).toBeGreaterThan(10)
  })

  it.each(SOURCES)("%s makes no markup or code of text, and is short", (name) => {
    const text = readFileSync(`${HERE}/${name}`, "utf8")
    for (const word of FORBIDDEN) expect(text.includes(word), word).toBe(false)
    expect(text.split("\n").length).toBeLessThanOrEqual(600)
  })
})
