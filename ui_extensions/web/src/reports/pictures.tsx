/** Pictures of a report: asked for by its reader's rights, shown from memory. */

import { createContext, useContext, useEffect, useState } from "react"

import { callBlob, isAbort } from "../api/client"
import { Skeleton } from "../controls/state"
import { visible } from "../text/visible"

/** How a picture of the report around it is asked for: path and body, but for the picture's id. */
export const PictureSource = createContext<Readonly<Record<string, unknown>> | null>(null)

const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"]

export async function fetchPicture(
  source: Readonly<Record<string, unknown>>,
  image: string,
  signal?: AbortSignal,
): Promise<Blob> {
  const blob = await callBlob("reports/image", { ...source, image }, signal ? { signal } : {})
  if (!TYPES.includes(blob.type)) throw new Error("it is no picture")
  return blob
}

export function Picture({
  image,
  alt,
  caption,
  width,
}: {
  image: string
  alt: string
  caption: string
  width: number | null
}) {
  const source = useContext(PictureSource)
  const [address, setAddress] = useState<string | null>(null)
  const [error, setError] = useState<Error | null>(null)
  useEffect(() => {
    if (source === null) return
    const abort = new AbortController()
    let made: string | null = null
    setError(null)
    fetchPicture(source, image, abort.signal).then(
      (blob) => {
        if (abort.signal.aborted) return
        made = URL.createObjectURL(blob)
        setAddress(made)
      },
      (failure: unknown) => {
        if (!isAbort(failure) && !abort.signal.aborted) setError(failure as Error)
      },
    )
    return () => {
      abort.abort()
      if (made !== null) URL.revokeObjectURL(made)
    }
  }, [source, image])
  return (
    <figure className="w-report-picture" data-image={image}>
      {error ? (
        <span className="w-text-bad">The picture could not be read: {error.message}.</span>
      ) : address ? (
        <img src={address} alt={visible(alt || caption)} style={width ? { width } : undefined} />
      ) : (
        <Skeleton height={160} width={width ? `${width}px` : "100%"} />
      )}
      {caption && <figcaption>{visible(caption, 2_000)}</figcaption>}
    </figure>
  )
}
