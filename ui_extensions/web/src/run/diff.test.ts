import { describe, expect, it } from "vitest"

import { lineChanges, parsePatch } from "./diff"

const PATCH = `diff --git a/train.py b/train.py
index 1..2 100644
--- a/train.py
+++ b/train.py
@@ -10,3 +10,4 @@ def train():
 kept
-old
+new
+<script>alert(1)</script>
 end
@@ -40 +41 @@
--- looks like a header
+++ so does this
diff --git a/my file.txt b/my file.txt
new file mode 100644
--- /dev/null
+++ b/my file.txt
@@ -0,0 +1 @@
+only
\\ No newline at end of file
diff --git "a/\\303\\244.py" "b/\\303\\244.py"
deleted file mode 100644
--- "a/\\303\\244.py"
+++ /dev/null
@@ -1 +0,0 @@
-gone
diff --git a/a.bin b/a.bin
GIT binary patch
literal 12
TcmZQzWMT#Y01f~L

literal 8
PcmZQzU|?imU|;M|00jU5

diff --git a/old.py b/new.py
similarity index 100%
rename from old.py
rename to new.py
`

describe("a patch", () => {
  const files = parsePatch(PATCH)

  it("names its files and what became of them", () => {
    expect(files.map(({ path, change }) => [path, change])).toEqual([
      ["train.py", "changed"],
      ["my file.txt", "added"],
      ["ä.py", "deleted"],
      ["a.bin", "changed"],
      ["new.py", "renamed"],
    ])
    expect(files[4]?.oldPath).toBe("old.py")
  })

  it("keeps line numbers, and lines that look like headers", () => {
    const [file] = files
    expect([file?.added, file?.deleted]).toEqual([3, 2])
    const lines = file?.hunks[0]?.lines ?? []
    expect(lines.map(({ kind, before, after }) => [kind, before, after])).toEqual([
      [" ", 10, 10],
      ["-", 11, null],
      ["+", null, 11],
      ["+", null, 12],
      [" ", 12, 13],
    ])
    expect(file?.hunks[1]?.lines.map(({ text }) => text)).toEqual([
      "-- looks like a header",
      "++ so does this",
    ])
  })

  it("gives binary files as sizes", () => {
    expect(files[3]).toMatchObject({ isBinary: true, binarySizes: [12, 8], hunks: [] })
  })

  it("keeps each file's own part", () => {
    expect(files.map((file) => file.source).join("")).toBe(PATCH)
  })

  it("survives what is none", () => {
    expect(parsePatch("")).toEqual([])
    expect(parsePatch("hello\n@@ -1 +1 @@\n+x")).toEqual([])
    expect(parsePatch("diff --git\ndiff --git a\n@@ -1 @@\n+x").length).toBe(1)
  })
})

describe("changes of lines", () => {
  it("are the fewest", () => {
    const before = "a b c a b b a".split(" ")
    const after = "c b a b a c".split(" ")
    const found = lineChanges(before, after) ?? []
    expect(found.filter(({ kind }) => kind !== "+").map(({ text }) => text)).toEqual(before)
    expect(found.filter(({ kind }) => kind !== "-").map(({ text }) => text)).toEqual(after)
    expect(found.filter(({ kind }) => kind !== " ")).toHaveLength(5)
  })

  it("are none between equals, all between strangers", () => {
    expect(lineChanges(["x"], ["x"])).toEqual([{ kind: " ", text: "x" }])
    expect(lineChanges([], ["x"])).toEqual([{ kind: "+", text: "x" }])
    expect(lineChanges(["x"], [])).toEqual([{ kind: "-", text: "x" }])
  })

  it("give up where nothing is in common", () => {
    const many = (word: string): string[] => Array.from({ length: 4_000 }, (_, n) => word + n)
    expect(lineChanges(many("a"), many("b"))).toBeNull()
  })
})
