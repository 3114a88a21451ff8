import "./media.css"

import type { ReactNode } from "react"
import { useEffect, useMemo, useRef, useState } from "react"

import { Dialog } from "../controls/dialog"
import { SearchBox } from "../controls/input"
import { Empty, Failed, Skeleton } from "../controls/state"
import { useStepSlider } from "../controls/step-slider"
import { PlaceLink } from "../layout/link"
import { StockLink } from "../layout/stock-link"
import { count } from "../text/format"
import { Name } from "../text/name"
import { NAME_LENGTH, visible } from "../text/visible"
import { useObjectAddress } from "./artifact"
import type { RunFacts } from "./facts"

interface MediaItem {
  step: number | null
  at_ms: number | null
  path: string
  small: string | null
  size: number | null
}

interface MediaSeries {
  key: string
  kind: "image" | "audio" | "video" | "figure"
  items: MediaItem[]
}

export interface MediaAnswer {
  series: MediaSeries[]
  is_cut: boolean
}

const KINDS = ["image", "video", "audio", "figure"]

/** The wall itself: a card a key. */
export function MediaWall({
  run,
  answer,
  other = null,
  otherError = null,
  beside,
}: {
  run: RunFacts
  answer: MediaAnswer
  /** The run that this one is held against. */
  other?: { run: RunFacts; answer: MediaAnswer } | null
  otherError?: Error | null
  /** In the line of the slider. */
  beside?: ReactNode
}) {
  const [search, setSearch] = useState("")
  const steps = useMemo(() => allSteps([answer, ...(other ? [other.answer] : [])]), [answer, other])
  const [step, slider] = useStepSlider(steps, "w-media-slider")
  const [open, setOpen] = useState<{ run: RunFacts; item: MediaItem; title: string } | null>(null)
  const shown = answer.series
    .filter((one) => one.key.toLowerCase().includes(search.toLowerCase()))
    .sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind))
  return (
    <div className="w-media">
      <div className="w-toolbar w-media-bar">
        {slider}
        <SearchBox label="Search pictures" value={search} onChange={setSearch} />
        {beside}
      </div>
      {otherError && <Failed what="The other run could not be read" error={otherError} />}
      {other && (
        <div className="w-media-names" aria-hidden="true">
          <Name text={run.name || run.id} />
          <span className="w-cut">
            <PlaceLink to={{ page: "run", runId: other.run.id, tab: "media" }} tabIndex={-1}>
              {visible(other.run.name || other.run.id, NAME_LENGTH)}
            </PlaceLink>
          </span>
        </div>
      )}
      <div className={other ? "w-media-pairs" : "w-media-grid"}>
        {shown.map((series) => {
          const title = visible(series.key, NAME_LENGTH)
          const match = other?.answer.series.find(
            (one) => one.key === series.key && one.kind === series.kind,
          )
          const show = (of: RunFacts, found: MediaSeries | undefined): React.ReactNode => {
            const item = found && nearest(found.items, step)
            if (!found || !item) return <div className="w-media-none w-secondary">none</div>
            return (
              <Tile
                run={of}
                series={found}
                item={item}
                onOpen={() => setOpen({ run: of, item, title })}
              />
            )
          }
          return (
            <figure key={`${series.kind} ${series.key}`} className="w-media-card">
              <figcaption>
                <Name text={series.key} />
                <span className="w-secondary">{count(series.items.length)}</span>
              </figcaption>
              <div className="w-media-row">
                {show(run, series)}
                {other && show(other.run, match)}
              </div>
            </figure>
          )
        })}
      </div>
      {shown.length === 0 && <Empty>Nothing is called that.</Empty>}
      {answer.is_cut && (
        <p className="w-secondary">
          There are more files than are looked through here.{" "}
          <StockLink to={`/experiments/${run.experiment_id}/runs/${run.id}/artifacts`}>
            MLflow's artifacts
          </StockLink>
        </p>
      )}
      {open && (
        <Dialog isWide title={open.title} onClose={() => setOpen(null)}>
          <Full run={open.run} item={open.item} title={open.title} />
        </Dialog>
      )}
    </div>
  )
}

/** Every step that something was logged at, ascending. */
function allSteps(answers: readonly MediaAnswer[]): number[] {
  const found = new Set<number>()
  for (const { series } of answers) {
    for (const { items } of series) {
      for (const { step } of items) if (step !== null) found.add(step)
    }
  }
  return [...found].sort((a, b) => a - b)
}

/** What was there at a step: the last one logged up to it, else the first after it. */
export function nearest(items: readonly MediaItem[], step: number | null): MediaItem | undefined {
  if (step === null) return items.at(-1)
  let found: MediaItem | undefined
  for (const item of items) {
    if (item.step === null) continue
    if (item.step > step) break
    found = item
  }
  return found ?? items[0]
}

function Tile({
  run,
  series,
  item,
  onOpen,
}: {
  run: RunFacts
  series: MediaSeries
  item: MediaItem
  onOpen: () => void
}) {
  const box = useRef<HTMLDivElement>(null)
  const [isNear, setNear] = useState(false)
  useEffect(() => {
    const shown = box.current
    if (!shown) return
    const observer = new IntersectionObserver(
      (entries) => setNear(entries.some((entry) => entry.isIntersecting)),
      { rootMargin: "200px" },
    )
    observer.observe(shown)
    return () => observer.disconnect()
  }, [])
  const label = `${visible(series.key, NAME_LENGTH)}, step ${item.step ?? "unknown"}`
  const caption = item.step === null ? "no step" : `step ${count(item.step)}`
  return (
    <div ref={box} className="w-media-tile">
      {series.kind === "image" ? (
        <button type="button" className="w-media-open" aria-label={`Enlarge ${label}`} onClick={onOpen}>
          <Picture run={run} path={isNear ? (item.small ?? item.path) : null} alt={label} />
        </button>
      ) : series.kind === "figure" ? (
        <StockLink
          to={`/experiments/${run.experiment_id}/runs/${run.id}/artifacts/${item.path
            .split("/")
            .map(encodeURIComponent)
            .join("/")}`}
        >
          Open the figure in MLflow
        </StockLink>
      ) : (
        <Playable run={run} path={isNear ? item.path : null} kind={series.kind} label={label} />
      )}
      <span className="w-secondary">{caption}</span>
    </div>
  )
}

function Picture({ run, path, alt }: { run: RunFacts; path: string | null; alt: string }) {
  const { address, error } = useObjectAddress(run.id, path)
  if (error) return <span className="w-text-bad">{error.message}</span>
  if (!address) return <Skeleton height={120} />
  return <img src={address} alt={alt} />
}

function Playable({
  run,
  path,
  kind,
  label,
}: {
  run: RunFacts
  path: string | null
  kind: "audio" | "video"
  label: string
}) {
  const { address, error } = useObjectAddress(run.id, path)
  if (error) return <span className="w-text-bad">{error.message}</span>
  if (!address) return <Skeleton height={54} />
  return kind === "audio" ? (
    <audio controls src={address} aria-label={label} />
  ) : (
    <video controls src={address} aria-label={label} />
  )
}

function Full({ run, item, title }: { run: RunFacts; item: MediaItem; title: string }) {
  return (
    <div className="w-media-full">
      <Picture run={run} path={item.path} alt={title} />
      <p className="w-secondary">
        {visible(run.name || run.id, 100)}
        {item.step !== null && ` · step ${count(item.step)}`} ·{" "}
        <StockLink
          to={`/experiments/${run.experiment_id}/runs/${run.id}/artifacts/${item.path
            .split("/")
            .map(encodeURIComponent)
            .join("/")}`}
        >
          in MLflow's artifacts
        </StockLink>
      </p>
    </div>
  )
}
