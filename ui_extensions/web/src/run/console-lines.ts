/** The lines of a console: fetched in blocks as they come into view, kept, and replaced as they change. */

import { useCallback, useEffect, useRef, useState } from "react"

import { call, isAbort } from "../api/client"

export interface ConsoleLine {
  n: number
  at_ms: number
  stream: "stdout" | "stderr" | "both"
  text: string
}

export interface ConsoleSource {
  source: string
  node: string
  rank: number | null
  pid: number
  began_ms: number | null
  n_lines: number
  cut: [number, number] | null
}

export interface ConsoleAnswer {
  sources: ConsoleSource[]
  source: string | null
  lines: ConsoleLine[]
  total: number
  dropped: number
  seq: number
}

const BLOCK = 500
const LIVE_MS = 1_500
const MOST_BLOCKS = 400

export interface Lines {
  sources: ConsoleSource[]
  total: number
  dropped: number
  error: Error | null
  isFirstLoad: boolean
  at: (n: number) => ConsoleLine | undefined
  /** Say which lines are in view, so that they are fetched. */
  want: (first: number, last: number) => void
  retry: () => void
  /** Grows whenever a line may have changed. */
  version: number
}

/** Keep the lines of one source of a run. */
export function useLines(runId: string, source: string | null, live: boolean): Lines {
  const kept = useRef(new Map<number, ConsoleLine>())
  const blocks = useRef(new Map<number, "asked" | "there">())
  const [head, setHead] = useState<ConsoleAnswer | null>(null)
  const [error, setError] = useState<Error | null>(null)
  const [version, setVersion] = useState(0)
  const [attempt, setAttempt] = useState(0)
  const seq = useRef(0)
  const total = useRef(0)

  const take = useCallback((answer: ConsoleAnswer) => {
    for (const line of answer.lines) kept.current.set(line.n, line)
    seq.current = Math.max(seq.current, answer.seq)
    total.current = answer.total
    setHead(answer)
    setVersion((n) => n + 1)
    setError(null)
  }, [])

  useEffect(() => {
    kept.current = new Map()
    blocks.current = new Map()
    seq.current = 0
    const abort = new AbortController()
    call<ConsoleAnswer>(
      "console",
      { run_id: runId, ...(source && { source }), first: -BLOCK, n: BLOCK },
      { signal: abort.signal },
    ).then(take, (failed: unknown) => {
      if (!isAbort(failed)) setError(failed as Error)
    })
    return () => abort.abort()
  }, [runId, source, attempt, take])

  useEffect(() => {
    if (!live) return
    let isStopped = false
    let timer = 0
    const abort = new AbortController()
    const poll = async (): Promise<void> => {
      if (!document.hidden && head !== null) {
        try {
          const answer = await call<ConsoleAnswer>(
            "console",
            { run_id: runId, ...(source && { source }), since: seq.current, n: 5_000 },
            { signal: abort.signal },
          )
          if (answer.seq !== seq.current || answer.total !== total.current) take(answer)
          else setError(null)
        } catch (failed) {
          if (!isAbort(failed)) setError(failed as Error)
        }
      }
      if (!isStopped) timer = window.setTimeout(() => void poll(), LIVE_MS)
    }
    timer = window.setTimeout(() => void poll(), LIVE_MS)
    return () => {
      isStopped = true
      window.clearTimeout(timer)
      abort.abort()
    }
  }, [runId, source, live, take, head === null])

  const want = useCallback(
    (first: number, last: number) => {
      for (let block = Math.floor(first / BLOCK); block <= Math.floor(last / BLOCK); block += 1) {
        if (blocks.current.has(block)) continue
        const from = block * BLOCK
        const end = Math.min(from + BLOCK, total.current)
        let isThere = end > from
        for (let n = from; n < end && isThere; n += 1) isThere = kept.current.has(n)
        if (isThere) {
          // The last block is not whole yet.
          if (end === from + BLOCK) blocks.current.set(block, "there")
          continue
        }
        blocks.current.set(block, "asked")
        call<ConsoleAnswer>("console", {
          run_id: runId,
          ...(source && { source }),
          first: from,
          n: BLOCK,
        }).then(
          (answer) => {
            blocks.current.set(block, "there")
            if (answer.lines.length < BLOCK) blocks.current.delete(block)
            for (const line of answer.lines) kept.current.set(line.n, line)
            forget(kept.current, blocks.current, block)
            setVersion((n) => n + 1)
          },
          (failed: unknown) => {
            blocks.current.delete(block)
            if (!isAbort(failed)) setError(failed as Error)
          },
        )
      }
    },
    [runId, source],
  )

  return {
    sources: head?.sources ?? [],
    total: head?.total ?? 0,
    dropped: head?.dropped ?? 0,
    error,
    isFirstLoad: head === null,
    at: (n) => kept.current.get(n),
    want,
    retry: () => setAttempt((n) => n + 1),
    version,
  }
}

/** Let go of the blocks farthest from the one in view. */
function forget(
  kept: Map<number, ConsoleLine>,
  blocks: Map<number, unknown>,
  around: number,
): void {
  if (blocks.size <= MOST_BLOCKS) return
  const far = [...blocks.keys()].sort((a, b) => Math.abs(b - around) - Math.abs(a - around))
  for (const block of far.slice(0, blocks.size - MOST_BLOCKS)) {
    blocks.delete(block)
    for (let n = block * BLOCK; n < (block + 1) * BLOCK; n += 1) kept.delete(n)
  }
}
