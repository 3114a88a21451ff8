/**
 * The data of published pages: each piece is a classic script `data/NAME.js` that hands over its
 * name and its bytes (deflated, as base64), which a browser loads from a folder too; or an element of
 * the page where all of it is one file. Names are digests of what they name.
 */

import { ApiError } from "../api/error"

declare global {
  interface Window {
    weirData?: (name: string, text: string) => void
  }
}

const NAME = /^[0-9a-f]{32}$/
const MOST_KEPT = 64 * 2 ** 20

const waiting = new Map<string, { done: (text: string) => void }>()
const asked = new Map<string, Promise<ArrayBuffer>>()
const sizes = new Map<string, number>()

window.weirData = (name, text) => waiting.get(name)?.done(text)

/** The bytes of a piece. @throws ApiError where it is not there, or is broken. */
export function bytesOf(name: string): Promise<ArrayBuffer> {
  let found = asked.get(name)
  if (found === undefined) {
    found = load(name).then(inflate)
    found.then(
      (bytes) => keep(name, bytes.byteLength),
      () => asked.delete(name),
    )
  } else {
    asked.delete(name) // to the end: what was used last is kept longest
  }
  asked.set(name, found)
  return found
}

/** A piece that is JSON. @throws ApiError like `bytesOf`. */
export async function jsonOf<T>(name: string): Promise<T> {
  const text = new TextDecoder().decode(await bytesOf(name))
  try {
    return JSON.parse(text) as T
  } catch {
    throw broken()
  }
}

function load(name: string): Promise<string> {
  if (!NAME.test(name)) return Promise.reject(broken())
  const inPage = document.getElementById(`weir-${name}`)
  if (inPage !== null) return Promise.resolve(inPage.textContent ?? "")
  return new Promise((resolve, reject) => {
    const script = document.createElement("script")
    const end = (): void => {
      waiting.delete(name)
      script.remove()
    }
    waiting.set(name, {
      done: (text) => {
        end()
        resolve(text)
      },
    })
    script.onerror = () => {
      end()
      reject(new ApiError(0, "a file of this page is not there: it may have been published anew"))
    }
    script.onload = () => {
      // One that handed nothing over is none of ours.
      if (!waiting.has(name)) return
      end()
      reject(broken())
    }
    script.src = `./data/${name}.js`
    document.head.append(script)
  })
}

async function inflate(text: string): Promise<ArrayBuffer> {
  try {
    const raw = atob(text)
    const packed = new Uint8Array(raw.length)
    for (let at = 0; at < raw.length; at += 1) packed[at] = raw.charCodeAt(at)
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))
    return await new Response(stream).arrayBuffer()
  } catch {
    throw broken()
  }
}

function keep(name: string, size: number): void {
  sizes.set(name, size)
  let total = 0
  for (const one of asked.keys()) total += sizes.get(one) ?? 0
  for (const one of asked.keys()) {
    if (total <= MOST_KEPT || one === name) return
    total -= sizes.get(one) ?? 0
    asked.delete(one)
  }
}

function broken(): ApiError {
  return new ApiError(0, "a file of this page is broken")
}
