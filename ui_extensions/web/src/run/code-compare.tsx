import { useMemo } from "react"

import { useAnswer } from "../api/use-answer"
import { Loading, StateOf } from "../controls/state"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { CodeAnswer } from "./code-parts"
import { shellWords } from "./code-parts"
import type { Change } from "./diff"
import { lineChanges, parsePatch } from "./diff"
import { ChangeLines } from "./diff-view"
import type { RunFacts } from "./facts"

/** The code of two runs: what is the same in a word, what differs line by line. */
export function CompareCode({
  run,
  code,
  otherId,
}: {
  run: RunFacts
  code: CodeAnswer
  otherId: string
}) {
  const other = useAnswer<CodeAnswer>("code", { run_id: otherId })
  return (
    <StateOf answer={other} what="The other run's code could not be read" loading={<Loading />}>
      {(theirs) => (
        <div className="w-code">
          <p>
            From <strong>{visible(run.name || run.id, NAME_LENGTH)}</strong> to the other:
          </p>
          <Commits ours={code} theirs={theirs} />
          <Patches ours={code} theirs={theirs} />
          <Texts
            title="Command"
            ours={code.environment?.argv ? shellWords(code.environment.argv).split(" ") : []}
            theirs={theirs.environment?.argv ? shellWords(theirs.environment.argv).split(" ") : []}
          />
          <Texts title="Packages" ours={code.requirements} theirs={theirs.requirements} />
        </div>
      )}
    </StateOf>
  )
}

function Commits({ ours, theirs }: { ours: CodeAnswer; theirs: CodeAnswer }) {
  const of = (code: CodeAnswer): string => code.state?.commit || code.tags["weir.git.commit"] || ""
  const [mine, other] = [of(ours), of(theirs)]
  if (!mine && !other) return null // a link may not show it
  return (
    <section aria-labelledby="w-commits">
      <h2 id="w-commits" className="w-section-title">
        Commit
      </h2>
      {mine === other ? (
        <p className="w-secondary">The same: {mine ? <code>{visible(mine, 64)}</code> : "none"}</p>
      ) : (
        <>
          <p>
            <code>{visible(mine || "none", 64)}</code> → <code>{visible(other || "none", 64)}</code>
          </p>
          {mine && other && (
            <p className="w-secondary">
              What lies between is in the repository:{" "}
              <code>
                git diff {visible(mine, 12)} {visible(other, 12)}
              </code>
            </p>
          )}
        </>
      )}
    </section>
  )
}

interface FileChange {
  path: string
  what: string
  changes: Change[] | null
}

function Patches({ ours, theirs }: { ours: CodeAnswer; theirs: CodeAnswer }) {
  const found = useMemo(() => comparePatches(ours.patch?.text ?? "", theirs.patch?.text ?? ""), [
    ours,
    theirs,
  ])
  // Of files that were changed a link may not show how.
  const areClean = [ours, theirs].every(({ state }) => state?.is_dirty === false)
  if (found.changed.length === 0 && found.nSame === 0 && !areClean) return null
  return (
    <section aria-labelledby="w-patches">
      <h2 id="w-patches" className="w-section-title">
        Patches, file by file
      </h2>
      {found.changed.length === 0 ? (
        <p className="w-secondary">
          {found.nSame === 0 ? "Neither has one: both were as committed." : `The same in ${count(found.nSame)} files.`}
        </p>
      ) : (
        <>
          {found.nSame > 0 && (
            <p className="w-secondary">{count(found.nSame)} more files are changed alike.</p>
          )}
          {found.changed.slice(0, 200).map((file) => (
            <details key={file.path} open={found.changed.length <= 10} className="w-diff-file">
              <summary>
                <code>{visible(file.path, 300)}</code> <span className="w-badge">{file.what}</span>
              </summary>
              {file.changes ? (
                <ChangeLines changes={file.changes} />
              ) : (
                <p className="w-secondary">They have too little in common to show line by line.</p>
              )}
            </details>
          ))}
        </>
      )}
    </section>
  )
}

function comparePatches(ours: string, theirs: string): { nSame: number; changed: FileChange[] } {
  const mine = new Map(parsePatch(ours).map((file) => [file.path, file.source]))
  const other = new Map(parsePatch(theirs).map((file) => [file.path, file.source]))
  const changed: FileChange[] = []
  let nSame = 0
  for (const path of new Set([...mine.keys(), ...other.keys()])) {
    const [a, b] = [mine.get(path), other.get(path)]
    if (a === b) {
      nSame += 1
      continue
    }
    const what = a === undefined ? "only there" : b === undefined ? "only here" : "differs"
    changed.push({ path, what, changes: lineChanges(body(a), body(b)) })
  }
  return { nSame, changed }
}

/** The part of a file's patch that says what changes, without names and digests. */
function body(source: string | undefined): string[] {
  if (source === undefined) return []
  const lines = source.replace(/\n$/, "").split("\n")
  const first = lines.findIndex((line) => line.startsWith("@@ ") || line.startsWith("GIT binary"))
  return first < 0 ? lines : lines.slice(first)
}

function Texts({
  title,
  ours,
  theirs,
}: {
  title: string
  ours: readonly string[]
  theirs: readonly string[]
}) {
  const changes = useMemo(() => lineChanges(ours, theirs), [ours, theirs])
  const id = `w-texts-${title.toLowerCase()}`
  const isSame = changes?.every((change) => change.kind === " ") ?? false
  if (ours.length === 0 && theirs.length === 0) return null
  return (
    <section aria-labelledby={id}>
      <h2 id={id} className="w-section-title">
        {title}
      </h2>
      {isSame ? (
        <p className="w-secondary">The same.</p>
      ) : changes ? (
        <ChangeLines changes={changes.filter((change) => change.kind !== " ")} />
      ) : (
        <p className="w-secondary">They have too little in common to show line by line.</p>
      )}
    </section>
  )
}
