import { useEffect, useRef, useState } from "react"

/** A value once it has rested, such as a text while it is typed. */
export function useRested<T>(value: T, restMs: number): T {
  const [rested, setRested] = useState(value)
  useEffect(() => {
    const timer = window.setTimeout(() => setRested(value), restMs)
    return () => window.clearTimeout(timer)
  }, [value, restMs])
  return rested
}

/** Do something when the next frame is on the page; returns how not to. */
export function afterPaint(work: () => void): () => void {
  let timer: number | undefined
  // A tab that is hidden has no frames.
  if (document.visibilityState === "hidden") timer = window.setTimeout(work)
  const frame =
    timer === undefined
      ? requestAnimationFrame(() => {
          timer = window.setTimeout(work)
        })
      : 0
  return () => {
    cancelAnimationFrame(frame)
    window.clearTimeout(timer)
  }
}

interface Rests {
  readonly works: Map<object, () => void>
  until: number
  isWaiting: boolean
}

const rests = new Map<number, Rests>()

function wake(ms: number, rest: Rests): void {
  const left = rest.until - performance.now()
  if (left > 1) {
    window.setTimeout(wake, left, ms, rest)
    return
  }
  rest.isWaiting = false
  const works = [...rest.works.values()]
  rest.works.clear()
  for (const work of works) work()
}

/**
 * Do something once nothing of the kind was wanted for so many ms: one timer for all cards, which
 * otherwise set and clear two each whenever an eye is clicked.
 *
 * @param of Whose: only its last work is done.
 */
export function afterRest(of: object, ms: number, work: () => void): void {
  let rest = rests.get(ms)
  if (rest === undefined) {
    rest = { works: new Map(), until: 0, isWaiting: false }
    rests.set(ms, rest)
  }
  rest.works.set(of, work)
  rest.until = performance.now() + ms
  if (rest.isWaiting) return
  rest.isWaiting = true
  window.setTimeout(wake, ms, ms, rest)
}

/** Forget what was to be done after a rest. */
export function forgetRest(of: object): void {
  for (const { works } of rests.values()) works.delete(of)
}

/** What `make` gives once nothing was changed for so many ms; `first` until then. */
export function useAfterRest<T>(first: T, ms: number, make: () => T, of: readonly unknown[]): T {
  const [made, setMade] = useState(first)
  const owner = useRef({}).current
  // biome-ignore lint: `of` stands for what it is made of
  useEffect(() => afterRest(owner, ms, () => setMade(make())), of)
  useEffect(() => () => forgetRest(owner), [owner])
  return made
}
