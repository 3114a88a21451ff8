/** `POST series`, its parts given out as they arrive. */

import { callStream } from "../api/client"
import type { Part } from "./parts"
import { PartReader } from "./parts"

export interface SeriesQuestion {
  readonly runs: readonly string[]
  readonly parts: readonly { readonly key: string }[]
  /** As the server calls it. */
  readonly x: string
  readonly [more: string]: unknown
}

/** Ask. @throws ApiError like `call`, also after some parts. */
export async function* askSeries(
  question: SeriesQuestion,
  options: { signal: AbortSignal; onBytes: (n: number) => void },
): AsyncGenerator<Part> {
  const reader = new PartReader()
  for await (const bytes of callStream("series", question, options)) {
    options.onBytes(bytes.length)
    yield* reader.push(bytes)
  }
  reader.end()
}
