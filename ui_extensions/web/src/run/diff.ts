/** Git's unified diffs as data, and the lines in which two texts differ. */

export type LineKind = " " | "+" | "-" | "\\"

export interface DiffLine {
  kind: LineKind
  text: string
  /** Numbers in the old and the new file; null where the line is not in it. */
  before: number | null
  after: number | null
}

export interface Hunk {
  header: string
  lines: DiffLine[]
}

export interface FileDiff {
  /** As the new tree has it; as the old one where it was deleted. */
  path: string
  oldPath: string
  change: "changed" | "added" | "deleted" | "renamed" | "mode"
  isBinary: boolean
  /** Bytes of a binary file, as the patch says; null where it does not. */
  binarySizes: number[]
  added: number
  deleted: number
  hunks: Hunk[]
  /** The file's part of the patch, as it stands there. */
  source: string
}

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)$/

/** Read a patch that `git diff` wrote; what is no part of it is passed over. */
export function parsePatch(patch: string): FileDiff[] {
  const files: FileDiff[] = []
  let file: FileDiff | null = null
  let hunk: Hunk | null = null
  let before = 0
  let after = 0
  let from = 0
  let at = 0
  const close = (end: number): void => {
    if (file) file.source = patch.slice(from, end)
  }
  while (at < patch.length) {
    const end = patch.indexOf("\n", at)
    const next = end < 0 ? patch.length : end + 1
    const line = patch.slice(at, end < 0 ? patch.length : end)
    if (line.startsWith("diff --git ")) {
      close(at)
      from = at
      const [oldPath, path] = headerPaths(line.slice("diff --git ".length))
      file = {
        path,
        oldPath,
        change: "changed",
        isBinary: false,
        binarySizes: [],
        added: 0,
        deleted: 0,
        hunks: [],
        source: "",
      }
      files.push(file)
      hunk = null
    } else if (file && hunk && isBody(line)) {
      const kind = (line[0] ?? " ") as LineKind
      const text = line.slice(1)
      if (kind === "+") {
        hunk.lines.push({ kind, text, before: null, after })
        after += 1
        file.added += 1
      } else if (kind === "-") {
        hunk.lines.push({ kind, text, before, after: null })
        before += 1
        file.deleted += 1
      } else if (kind === "\\") {
        hunk.lines.push({ kind, text: text.trim(), before: null, after: null })
      } else {
        hunk.lines.push({ kind: " ", text, before, after })
        before += 1
        after += 1
      }
    } else if (file) {
      const found = HUNK.exec(line)
      if (found) {
        before = Number(found[1])
        after = Number(found[2])
        hunk = { header: (found[3] ?? "").trim(), lines: [] }
        file.hunks.push(hunk)
      } else {
        readHeader(file, line)
      }
    }
    // A hunk begins anew after a header of one, not within its lines.
    if (file && hunk && line.startsWith("@@ ") && !HUNK.test(line)) hunk = null
    at = next
  }
  close(patch.length)
  return files
}

function isBody(line: string): boolean {
  return line === "" || line[0] === " " || line[0] === "+" || line[0] === "-" || line[0] === "\\"
}

function readHeader(file: FileDiff, line: string): void {
  if (line.startsWith("new file mode")) file.change = "added"
  else if (line.startsWith("deleted file mode")) file.change = "deleted"
  else if (line.startsWith("rename from ")) {
    file.change = "renamed"
    file.oldPath = unquoted(line.slice("rename from ".length))
  } else if (line.startsWith("rename to ")) file.path = unquoted(line.slice("rename to ".length))
  else if (line.startsWith("old mode") && file.change === "changed") file.change = "mode"
  else if (line.startsWith("--- ") && line !== "--- /dev/null") {
    file.oldPath = withoutSide(line.slice(4), file.oldPath)
  } else if (line.startsWith("+++ ") && line !== "+++ /dev/null") {
    file.path = withoutSide(line.slice(4), file.path)
  } else if (line.startsWith("GIT binary patch") || line.startsWith("Binary files ")) {
    file.isBinary = true
  } else {
    const size = /^(?:literal|delta) (\d{1,15})$/.exec(line)
    if (size && file.isBinary) file.binarySizes.push(Number(size[1]))
  }
}

/** `a/x b/x`, with names that may hold blanks: both halves are the same but for the side. */
function headerPaths(words: string): [string, string] {
  const quoted = /^("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|\S+)$/.exec(words)
  if (quoted?.[1] && quoted[2]) {
    return [withoutSide(quoted[1], quoted[1]), withoutSide(quoted[2], quoted[2])]
  }
  const middle = Math.floor(words.length / 2)
  return [withoutSide(words.slice(0, middle), words), withoutSide(words.slice(middle + 1), words)]
}

function withoutSide(word: string, fallback: string): string {
  const path = unquoted(word.replace(/\t$/, ""))
  return /^[ab]\//.test(path) ? path.slice(2) : path || fallback
}

/** Git quotes names with odd bytes as C does. */
function unquoted(word: string): string {
  if (!word.startsWith('"') || !word.endsWith('"')) return word
  const bytes: number[] = []
  const encoder = new TextEncoder()
  const inner = word.slice(1, -1)
  const escapes: Record<string, number> = { n: 10, t: 9, r: 13, "\\": 92, '"': 34, a: 7, b: 8, f: 12, v: 11 }
  for (let at = 0; at < inner.length; at += 1) {
    const character = inner[at] ?? ""
    if (character !== "\\") {
      bytes.push(...encoder.encode(character))
      continue
    }
    const octal = /^[0-3][0-7]{2}/.exec(inner.slice(at + 1))
    if (octal) {
      bytes.push(Number.parseInt(octal[0], 8))
      at += 3
    } else {
      bytes.push(escapes[inner[at + 1] ?? ""] ?? 63)
      at += 1
    }
  }
  return new TextDecoder().decode(new Uint8Array(bytes))
}

export interface Change {
  kind: " " | "+" | "-"
  text: string
}

const MOST_EDITS = 3_000

/**
 * The lines that turn one text into another (Myers' algorithm); null where the two have less in
 * common than is worth showing (more than 3,000 lines differ).
 */
export function lineChanges(before: readonly string[], after: readonly string[]): Change[] | null {
  let head = 0
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1
  let tail = 0
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) {
    tail += 1
  }
  const a = before.slice(head, before.length - tail)
  const b = after.slice(head, after.length - tail)
  const middle = myers(a, b)
  if (middle === null) return null
  const same = (text: string): Change => ({ kind: " ", text })
  return [
    ...before.slice(0, head).map(same),
    ...middle,
    ...before.slice(before.length - tail).map(same),
  ]
}

function myers(a: readonly string[], b: readonly string[]): Change[] | null {
  const n = a.length
  const m = b.length
  const most = Math.min(n + m, MOST_EDITS)
  const trace: Int32Array[] = []
  const offset = most + 1
  const v = new Int32Array(2 * most + 3)
  for (let d = 0; d <= most; d += 1) {
    trace.push(v.slice())
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && at(v, offset + k - 1) < at(v, offset + k + 1))
      let x = down ? at(v, offset + k + 1) : at(v, offset + k - 1) + 1
      let y = x - k
      while (x < n && y < m && a[x] === b[y]) {
        x += 1
        y += 1
      }
      v[offset + k] = x
      if (x >= n && y >= m) return walkBack(a, b, trace, offset, d)
    }
  }
  return null
}

function walkBack(
  a: readonly string[],
  b: readonly string[],
  trace: readonly Int32Array[],
  offset: number,
  edits: number,
): Change[] {
  const found: Change[] = []
  let x = a.length
  let y = b.length
  for (let d = edits; d >= 0; d -= 1) {
    const v = trace[d]
    if (!v) break
    const k = x - y
    const down = k === -d || (k !== d && at(v, offset + k - 1) < at(v, offset + k + 1))
    const before = down ? k + 1 : k - 1
    const fromX = d === 0 ? 0 : at(v, offset + before)
    const fromY = d === 0 ? 0 : fromX - before
    while (x > fromX && y > fromY) {
      x -= 1
      y -= 1
      found.push({ kind: " ", text: a[x] ?? "" })
    }
    if (d === 0) break
    if (down) {
      y -= 1
      found.push({ kind: "+", text: b[y] ?? "" })
    } else {
      x -= 1
      found.push({ kind: "-", text: a[x] ?? "" })
    }
  }
  return found.reverse()
}

function at(v: Int32Array, index: number): number {
  return v[index] ?? 0
}
