/** Files of a run, fetched through the API and shown without trusting a byte of them. */

import { useEffect, useState } from "react"

import type { CallOptions } from "../api/client"
import { callBlob, isAbort } from "../api/client"
import { FILE_BYTES } from "../api/limits"

export interface FileEntry {
  path: string
  is_folder: boolean
  size: number | null
}

export const PICTURE = /\.(png|jpe?g|gif|webp|bmp|avif|svg)$/i
export const TEXT_BYTES = 256 * 1024
const REVOKE_MS = 10_000

export interface ObjectAddress {
  address: string | null
  error: Error | null
}

/** A `blob:` address of a file for <img>, <audio> or <video>; let go of when it is not shown. */
export function useObjectAddress(runId: string, path: string | null): ObjectAddress {
  const [held, setHeld] = useState<ObjectAddress & { key: string }>({
    key: "",
    address: null,
    error: null,
  })
  const key = `${runId}/${path ?? ""}`
  useEffect(() => {
    if (path === null) return
    const abort = new AbortController()
    let address: string | null = null
    callBlob("file", { run_id: runId, path, most: FILE_BYTES }, { signal: abort.signal }).then(
      (blob) => {
        if (abort.signal.aborted) return
        address = URL.createObjectURL(blob)
        setHeld({ key, address, error: null })
      },
      (error: unknown) => {
        if (!isAbort(error)) setHeld({ key, address: null, error: error as Error })
      },
    )
    return () => {
      abort.abort()
      // Later: what shows it may still be reading it.
      const gone = address
      if (gone !== null) window.setTimeout(() => URL.revokeObjectURL(gone), REVOKE_MS)
    }
  }, [runId, path, key])
  return held.key === key ? held : { address: null, error: null }
}

/** A file as a whole. @throws Error where it is larger than what is given at once. */
export async function readFile(runId: string, path: string, options: CallOptions = {}): Promise<Blob> {
  const blob = await callBlob("file", { run_id: runId, path, most: FILE_BYTES }, options)
  if (blob.size >= FILE_BYTES) throw new Error("it is larger than what this page saves")
  return blob
}

/** Text of a file's beginning; not text where it has zero bytes. */
export async function readText(
  runId: string,
  path: string,
  options: { signal?: AbortSignal },
): Promise<{ text: string; isBinary: boolean; isCut: boolean }> {
  const blob = await callBlob("file", { run_id: runId, path, most: TEXT_BYTES }, options)
  const content = new Uint8Array(await blob.arrayBuffer())
  return {
    text: new TextDecoder().decode(content),
    isBinary: content.subarray(0, 8_000).includes(0),
    isCut: content.length >= TEXT_BYTES,
  }
}

/** Rows of a CSV text: quotes as RFC 4180 has them, at most so many rows and columns. */
export function parseCsv(text: string, most: { rows: number; columns: number }): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  let cell = ""
  let isQuoted = false
  const endCell = (): void => {
    if (row.length < most.columns) row.push(cell)
    cell = ""
  }
  for (let at = 0; at < text.length && rows.length < most.rows; at += 1) {
    const character = text[at]
    if (isQuoted) {
      if (character === '"' && text[at + 1] === '"') {
        cell += '"'
        at += 1
      } else if (character === '"') isQuoted = false
      else cell += character
    } else if (character === '"' && cell === "") isQuoted = true
    else if (character === ",") endCell()
    else if (character === "\n") {
      endCell()
      rows.push(row)
      row = []
    } else if (character !== "\r") cell += character
  }
  if (rows.length < most.rows && (cell || row.length > 0)) {
    endCell()
    rows.push(row)
  }
  return rows
}
