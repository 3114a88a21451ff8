import { useId, useState } from "react"

import { call } from "../api/client"
import { useAnswer } from "../api/use-answer"
import { Button } from "../controls/button"
import { HeadedTable } from "../controls/headed-table"
import { Checkbox, SearchBox } from "../controls/input"
import { Empty, Failed, StateOf } from "../controls/state"
import { count } from "../text/format"
import { NAME_LENGTH, visible } from "../text/visible"
import type { People, Permission, Person, Source } from "./api"
import { refusal, useDeed } from "./parts"
import { LEVEL_WORDS } from "./visibility"

const PERMISSION_WORDS: Readonly<Record<Permission, string>> = {
  READ: "Read",
  USE: "Use",
  EDIT: "Edit",
  MANAGE: "Manage",
  NO_PERMISSIONS: "Nothing",
}
const GIVEN = ["READ", "EDIT", "MANAGE", "NO_PERMISSIONS"] as const
const STEP = 200

function sourceWords(source: Source, role: string | null): string {
  switch (source) {
    case "administrator":
      return "Administrator"
    case "own":
      return "Named"
    case "role":
      return `Role “${visible(role ?? "", 80)}”`
    case "workspace":
      return "Manages the workspace"
    case "private":
      return "Private: not named"
    default:
      return "The server’s default"
  }
}

/** Who may see an experiment, where that comes from, and a way to change it. */
export function PeopleTab({ experimentId }: { experimentId: string }) {
  const [search, setSearch] = useState("")
  const [isAll, showAll] = useState(false)
  const [limit, setLimit] = useState(STEP)
  const answer = useAnswer<People>("people", {
    experiment_id: experimentId,
    search,
    all: isAll,
    limit: Math.min(limit, 500),
  })
  const [name, setName] = useState("")
  const [permission, setPermission] = useState<Permission>("READ")
  const adding = useDeed()
  const id = useId()
  const refused = refusal(answer, "Who may delete this experiment sees who may see it: ask its owner.")
  if (refused) return refused
  const change = async (who: string, what: Permission | null): Promise<void> => {
    await call("people/change", { experiment_id: experimentId, name: who, permission: what })
    answer.retry()
  }
  return (
    <>
      <form
        className="w-teams-form"
        aria-label="Add a person"
        onSubmit={(event) => {
          event.preventDefault()
          adding.run(async () => {
            await change(name.trim(), permission)
            setName("")
          })
        }}
      >
        <label htmlFor={id}>Add a person</label>
        <input
          id={id}
          className="w-input"
          placeholder="Name of a user"
          autoComplete="off"
          spellCheck={false}
          maxLength={255}
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
        <Choice label="What they may" value={permission} onChange={setPermission} />
        <Button kind="primary" type="submit" disabled={adding.isBusy || name.trim() === ""}>
          Add
        </Button>
      </form>
      {adding.fault && <Failed what="Nobody was added" error={adding.fault} />}
      <div className="w-share-tools">
        <SearchBox label="Search people" value={search} onChange={setSearch} />
        <Checkbox label="Show people without access" isChecked={isAll} onChange={showAll} />
        <span className="w-secondary" role="status">
          {answer.data && `${count(answer.data.total)} ${answer.data.total === 1 ? "user" : "users"}`}
        </span>
      </div>
      <StateOf
        answer={answer}
        what="The people could not be listed"
        isEmpty={({ people }) => people.length === 0}
        empty={<Empty>Nobody is called that.</Empty>}
      >
        {(data) => (
          <>
            <p className="w-secondary">
              {data.level === "private"
                ? `${LEVEL_WORDS.private.means}.`
                : data.default_permission === "NO_PERMISSIONS"
                  ? "Nobody else may see it (the server’s default)."
                  : `Everybody else may ${PERMISSION_WORDS[data.default_permission].toLowerCase()} (the server’s default).`}
            </p>
            <HeadedTable heads={["Name", "May", "By"]}>
              {data.people.map((person) => (
                <Row key={person.name} person={person} onChange={change} />
              ))}
            </HeadedTable>
            {data.total > data.people.length && (
              <Button isSmall onClick={() => setLimit(limit + STEP)}>
                {count(data.total - data.people.length)} more: search, or show more
              </Button>
            )}
          </>
        )}
      </StateOf>
    </>
  )
}

function Choice({
  label,
  value,
  onChange,
  isDisabled = false,
}: {
  label: string
  value: Permission
  onChange: (permission: Permission) => void
  isDisabled?: boolean
}) {
  const offered: readonly Permission[] = value === "USE" ? [...GIVEN, "USE"] : GIVEN
  return (
    <select
      className="w-input"
      aria-label={label}
      value={value}
      disabled={isDisabled}
      onChange={(event) => onChange(event.target.value as Permission)}
    >
      {offered.map((one) => (
        <option key={one} value={one}>
          {PERMISSION_WORDS[one]}
        </option>
      ))}
    </select>
  )
}

function Row({
  person,
  onChange,
}: {
  person: Person
  onChange: (name: string, permission: Permission | null) => Promise<void>
}) {
  const { isBusy, fault, run } = useDeed()
  const name = visible(person.name, NAME_LENGTH)
  const marks = [
    person.is_owner && "Owner",
    person.is_admin && "Administrator",
    person.is_service && "Job",
    person.is_you && "You",
  ].filter((one): one is string => typeof one === "string")
  return (
    <tr>
      <th scope="row" data-head="Name">
        <span className="w-teams-name" dir="auto" title={visible(person.name)}>
          {name}
        </span>
        {marks.map((mark) => (
          <span key={mark} className="w-badge">
            {mark}
          </span>
        ))}
        {fault && <Failed what="That was not done" error={fault} />}
      </th>
      <td data-head="May">
        {person.is_admin ? (
          PERMISSION_WORDS.MANAGE
        ) : (
          <Choice
            label={`What ${name} may`}
            value={person.permission}
            isDisabled={isBusy}
            onChange={(permission) => run(() => onChange(person.name, permission))}
          />
        )}
      </td>
      <td data-head="By">{sourceWords(person.source, person.role)}</td>
      <td>
        {person.own !== null && person.source !== "private" && !person.is_admin && (
          <Button
            isSmall
            icon="close"
            disabled={isBusy}
            aria-label={`Remove ${name}`}
            onClick={() => run(() => onChange(person.name, null))}
          >
            Remove
          </Button>
        )}
      </td>
    </tr>
  )
}
