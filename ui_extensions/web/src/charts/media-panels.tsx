/** Images of many runs by key: a row a key, a picture a run, one slider over their steps. */

import { useEffect, useMemo, useRef, useState } from "react"

import { call, isAbort } from "../api/client"
import { Button } from "../controls/button"
import { Empty, Failed, Skeleton } from "../controls/state"
import { useAsOf } from "../data/as-of"
import { useStepSlider } from "../controls/step-slider"
import { PlaceLink } from "../layout/link"
import { useObjectAddress } from "../run/artifact"
import { count } from "../text/format"
import { Name } from "../text/name"
import { NAME_LENGTH, visible } from "../text/visible"
import { hoverState } from "./hover"
import type { DrawnRun } from "./types"

export const FIRST_RUNS = 12
const MORE_RUNS = 12
/** Runs that are asked for at a time. */
const AT_ONCE = 4

interface MediaItem {
  step: number | null
  /** When it was logged; null where its name does not say. */
  at_ms: number | null
  path: string
  small: string | null
}

interface MediaSeries {
  key: string
  kind: string
  items: MediaItem[]
}

/** Images of a run by key. */
export type Images = ReadonlyMap<string, readonly MediaItem[]>

/** What was there at a step: the last one logged up to it; none before the first. */
export function imageAt(items: readonly MediaItem[], step: number | null): MediaItem | undefined {
  if (step === null) return items.at(-1)
  let found: MediaItem | undefined
  for (const item of items) if (item.step !== null && item.step <= step) found = item
  return found
}

/** Every step of a key that some run has an image at, ascending. */
export function stepsOf(images: Iterable<Images>, key: string): number[] {
  const found = new Set<number>()
  for (const one of images) {
    for (const { step } of one.get(key) ?? []) if (step !== null) found.add(step)
  }
  return [...found].sort((a, b) => a - b)
}

/** Images of a run as of a moment: of one that had not ended then, those that had been logged. */
export function imagesAt(images: Images, atMs: number | null, endMs: number | null): Images {
  if (atMs === null || endMs !== null) return images
  return new Map(
    [...images].flatMap(([key, items]) => {
      const then = items.filter((item) => item.at_ms === null || item.at_ms <= atMs)
      return then.length > 0 ? [[key, then] as const] : []
    }),
  )
}

/** Look up the images of some runs, a few at a time; what is known is not asked for again. */
export function useImages(ids: readonly string[]): { images: ReadonlyMap<string, Images>; error: Error | null; isLoading: boolean } {
  const [images, setImages] = useState<ReadonlyMap<string, Images>>(new Map())
  const [error, setError] = useState<Error | null>(null)
  const known = useRef(new Set<string>())
  const name = ids.join()
  // biome-ignore lint: `name` stands for the ids
  useEffect(() => {
    const abort = new AbortController()
    const waiting = ids.filter((id) => !known.current.has(id))
    const next = async (): Promise<void> => {
      for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
        const run = id
        const { series } = await call<{ series: MediaSeries[] }>("media", { run_id: run }, { signal: abort.signal })
        known.current.add(run)
        const own = series.filter((one) => one.kind === "image").map((one) => [one.key, one.items] as const)
        setImages((before) => new Map(before).set(run, new Map(own)))
      }
    }
    Promise.all(Array.from({ length: AT_ONCE }, next)).then(
      () => setError(null),
      (failure: unknown) => {
        if (!isAbort(failure) && !abort.signal.aborted) setError(failure as Error)
      },
    )
    return () => abort.abort()
  }, [name])
  return { images, error, isLoading: ids.some((id) => !images.has(id)) }
}

const ALL: readonly string[] = []

export function MediaPanels({
  runs,
  width,
  only = ALL,
}: {
  runs: readonly DrawnRun[]
  width: number
  /** These keys; all where it is empty. */
  only?: readonly string[]
}) {
  const [most, setMost] = useState(FIRST_RUNS)
  const visibleRuns = useMemo(() => runs.filter((run) => run.isVisible), [runs])
  const shown = useMemo(() => visibleRuns.slice(0, most), [visibleRuns, most])
  const ids = useMemo(() => shown.map((run) => run.id), [shown])
  const { images: all, error, isLoading } = useImages(ids)
  const asOf = useAsOf()
  const images = useMemo(
    () =>
      new Map(
        shown.flatMap(({ id, endMs }) => {
          const own = all.get(id)
          return own ? [[id, imagesAt(own, asOf, endMs)] as const] : []
        }),
      ),
    [all, shown, asOf],
  )
  const keys = useMemo(() => {
    const found = new Set<string>()
    for (const id of ids) for (const key of images.get(id)?.keys() ?? []) found.add(key)
    return [...found].filter((key) => only.length === 0 || only.includes(key)).sort()
  }, [ids, images, only])
  return (
    <div className="w-media-panels">
      {error && <Failed what="The images could not be listed" error={error} />}
      {ids.length === 0 && <Empty>No run is shown.</Empty>}
      {!isLoading && ids.length > 0 && keys.length === 0 && (
        <Empty>
          {shown.length < visibleRuns.length
            ? `None of the first ${count(shown.length)} runs has an image.`
            : "No run that is shown has an image."}{" "}
          <code>mlflow.log_image(image, key="samples", step=step)</code> puts them here.
        </Empty>
      )}
      {keys.map((key) => (
        <MediaPanel key={key} name={key} runs={shown} images={images} width={width} />
      ))}
      {isLoading && !error && <Skeleton height={120} />}
      {visibleRuns.length > shown.length && (
        <p className="w-secondary">
          The first {count(shown.length)} of {count(visibleRuns.length)} runs that are shown.{" "}
          <Button isSmall onClick={() => setMost(most + MORE_RUNS)}>
            {count(Math.min(MORE_RUNS, visibleRuns.length - shown.length))} more
          </Button>
        </p>
      )}
    </div>
  )
}

function MediaPanel({
  name,
  runs,
  images,
  width,
}: {
  name: string
  runs: readonly DrawnRun[]
  images: ReadonlyMap<string, Images>
  width: number
}) {
  const having = useMemo(() => runs.filter((run) => images.get(run.id)?.has(name)), [runs, images, name])
  const steps = useMemo(() => stepsOf(having.flatMap((run) => images.get(run.id) ?? []), name), [having, images, name])
  const [step, slider] = useStepSlider(steps, "w-media-steps")
  const title = visible(name, NAME_LENGTH)
  const side = Math.max(120, Math.min(260, Math.floor((width - 24) / Math.min(6, Math.max(1, having.length))) - 8))
  return (
    <article className="w-card w-media-panel" aria-label={`Images: ${title}`}>
      <header className="w-card-head">
        <h3><Name text={name} /></h3>
        {slider}
      </header>
      <div className="w-media-runs">
        {having.map((run) => {
          const item = imageAt(images.get(run.id)?.get(name) ?? [], step)
          return (
            <figure
              key={run.id}
              style={{ width: side }}
              onPointerEnter={() => hoverState.raise(run.id)}
              onPointerLeave={() => hoverState.raise(null)}
            >
              {item ? (
                <Picture runId={run.id} path={item.small ?? item.path} alt={`${title}, ${visible(run.name, 80)}`} />
              ) : (
                <span className="w-secondary w-media-nothing">nothing up to here</span>
              )}
              <figcaption>
                <span className="w-chart-dot" style={{ background: run.colour }} />
                <PlaceLink className="w-cut" to={{ page: "run", runId: run.id, tab: "media" }} aria-label={visible(run.name, NAME_LENGTH)}>
                  <Name text={run.name} />
                </PlaceLink>
                <span className="w-secondary">{item?.step === null || !item ? "" : count(item.step)}</span>
              </figcaption>
            </figure>
          )
        })}
      </div>
    </article>
  )
}

function Picture({ runId, path, alt }: { runId: string; path: string; alt: string }) {
  const { address, error } = useObjectAddress(runId, path)
  // The one before stays until the next is there: a slider that flickers cannot be read.
  const last = useRef<string | null>(null)
  if (address) last.current = address
  if (error) return <span className="w-text-bad">{error.message}</span>
  const shown = address ?? last.current
  return shown ? <img src={shown} alt={alt} /> : <Skeleton height={120} />
}
