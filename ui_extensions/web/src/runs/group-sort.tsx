import { Button, IconButton, Segments } from "../controls/button"
import { Popover } from "../controls/menu"
import { count } from "../text/format"
import { Name } from "../text/name"
import type { Band, Centre } from "../view/document"
import { ColumnSelect } from "./column-picker"
import { columnTitle } from "./columns"
import { isHigherBetter } from "./direction"
import { useWorkspace } from "./workspace-context"

const MAX_KEYS = 4
const MAX_TERMS = 5
const CENTRES: readonly { value: Centre; label: string }[] = [
  { value: "mean", label: "mean" },
  { value: "median", label: "median" },
  { value: "min", label: "min" },
  { value: "max", label: "max" },
]
const BANDS: readonly { value: Band; label: string }[] = [
  { value: "minmax", label: "min – max" },
  { value: "sd", label: "± SD" },
  { value: "se", label: "± SE" },
  { value: "p10p90", label: "p10 – p90" },
  { value: "none", label: "none" },
]

/** Group by up to four columns, and what a group's line and band are. */
export function GroupButton() {
  const { view, groups } = useWorkspace()
  const { doc, update } = view
  const keys = doc.groupBy
  const [first] = keys
  const more = keys.length > 1 ? ` +${keys.length - 1}` : ""
  const set = (at: number, name: string): void => {
    const next = [...keys]
    if (name) next[at] = name
    else next.splice(at, 1)
    update({ groupBy: [...new Set(next)] })
  }
  return (
    <Popover
      label="Group"
      button={{
        icon: "group",
        isSmall: true,
        id: "w-group-button",
        "aria-pressed": keys.length > 0,
        "aria-label": first ? `Group: ${columnTitle(first)}${more}` : "Group",
        children: first ? <Name text={`${columnTitle(first)}${more}`} /> : "Group",
      }}
    >
      {() => (
        <div className="w-group-box">
          {[...keys, ...(keys.length < MAX_KEYS ? [""] : [])].map((name, at) => (
            <div key={name || "new"} className="w-group-key">
              <ColumnSelect
                label={at === 0 ? "Group by" : "Then by"}
                value={name}
                exclude={keys}
                onChange={(next) => set(at, next)}
              />
              {name && (
                <IconButton
                  icon="close"
                  label={`Do not group by ${columnTitle(name)}`}
                  isSmall
                  onClick={() => set(at, "")}
                />
              )}
            </div>
          ))}
          {keys.length > 0 && (
            <>
              <div className="w-group-line">
                <span>Line</span>
                <Segments
                  label="Line of a group"
                  options={CENTRES}
                  value={doc.centre}
                  onChange={(centre) => update({ centre })}
                />
              </div>
              <div className="w-group-line">
                <span>Band</span>
                <Segments
                  label="Band of a group"
                  options={BANDS}
                  value={doc.band}
                  onChange={(band) => update({ band })}
                />
              </div>
              {groups && groups.n_groups > groups.groups.length && (
                <p className="w-note-warn">
                  {count(groups.n_groups)} groups; the first {count(groups.groups.length)} are
                  shown. Another key may say more.
                </p>
              )}
              <Button isSmall onClick={() => update({ groupBy: [] })}>
                No groups
              </Button>
            </>
          )}
        </div>
      )}
    </Popover>
  )
}

/** Sort by up to five columns. */
export function SortButton() {
  const { view, isTable } = useWorkspace()
  const { doc, update } = view
  const [lead] = doc.order
  const bare = (term: string): string => term.replace(/^-/, "")
  const set = (at: number, term: string | null): void => {
    const next = [...doc.order]
    if (term === null) next.splice(at, 1)
    else next[at] = term
    const names = new Set<string>()
    update({ order: next.filter((one) => !names.has(bare(one)) && names.add(bare(one))) })
  }
  return (
    <Popover
      label="Sort"
      button={{
        icon: "sort",
        isSmall: true,
        "aria-pressed": doc.order.length > 0,
        "aria-label": lead ? `Sort: ${columnTitle(bare(lead))}` : "Sort",
        title: "Sort",
        children: isTable && (
          <span className="w-cut">
            {lead ? `${columnTitle(bare(lead))} ${lead.startsWith("-") ? "↓" : "↑"}` : "Sort"}
          </span>
        ),
      }}
    >
      {() => (
        <div className="w-group-box">
          {[...doc.order, ...(doc.order.length < MAX_TERMS ? [""] : [])].map((term, at) => (
            <div key={bare(term) || "new"} className="w-group-key">
              <ColumnSelect
                label={at === 0 ? "Sort by" : "Then by"}
                value={bare(term)}
                exclude={doc.order.map(bare)}
                withAggregates
                onBest={(key) =>
                  set(at, isHigherBetter(key, doc.higherIsBetter) ? `-metrics.${key}:max` : `metrics.${key}:min`)
                }
                onChange={(name) => set(at, name ? `${term.startsWith("-") ? "-" : ""}${name}` : null)}
              />
              {term && (
                <>
                  <Button
                    isSmall
                    onClick={() => set(at, term.startsWith("-") ? bare(term) : `-${term}`)}
                  >
                    {term.startsWith("-") ? "largest first" : "smallest first"}
                  </Button>
                  <IconButton
                    icon="close"
                    label={`Do not sort by ${columnTitle(bare(term))}`}
                    isSmall
                    onClick={() => set(at, null)}
                  />
                </>
              )}
            </div>
          ))}
          {doc.order.length === 0 && <p className="w-hint">Newest first.</p>}
        </div>
      )}
    </Popover>
  )
}
