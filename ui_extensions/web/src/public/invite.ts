/** The page of an invitation: a name and a password, once. Nothing of the server is known here. */

import { NAME_LENGTH, visible } from "../text/visible"

interface Invite {
  readonly created_by: string
  readonly experiment: string | null
  readonly permission: string | null
  readonly expires_ms: number
  readonly server: string
}

const DEEDS: Readonly<Record<string, string>> = { READ: "see", EDIT: "work in", MANAGE: "manage" }

function part<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found as T
}

async function ask<T>(name: string, body: object): Promise<T> {
  const address = new URL(`${location.pathname}/api/${name}`, location.origin)
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    credentials: "omit",
  })
  const found = (await answer.json().catch(() => ({}))) as { error?: unknown }
  if (answer.ok) return found as T
  if (answer.status === 404) throw new Error("This invitation does not work (any more).")
  throw new Error(typeof found.error === "string" ? found.error : `error ${answer.status}`)
}

function words(invite: Invite): string {
  const who = visible(invite.created_by, NAME_LENGTH)
  const until = new Date(invite.expires_ms).toLocaleString(undefined, { dateStyle: "long" })
  const what =
    invite.experiment === null
      ? "this server"
      : `“${visible(invite.experiment, NAME_LENGTH)}”, which you may then ${DEEDS[invite.permission ?? ""] ?? "see"}`
  return `${who} invites you to ${what}. The invitation works once, until ${until}.`
}

async function start(): Promise<void> {
  const [told, form, fault] = [part("told"), part<HTMLFormElement>("join"), part("fault")]
  const [name, password, again] = ["name", "password", "again"].map((id) =>
    part<HTMLInputElement>(id),
  ) as [HTMLInputElement, HTMLInputElement, HTMLInputElement]
  const button = form.querySelector("button") as HTMLButtonElement
  let invite: Invite
  try {
    invite = await ask<Invite>("invite", {})
  } catch (failure) {
    told.textContent = failure instanceof Error ? visible(failure.message, 300) : ""
    return
  }
  told.textContent = words(invite)
  form.hidden = false
  name.focus()
  form.addEventListener("submit", (event) => {
    event.preventDefault()
    fault.textContent = ""
    if (password.value !== again.value) {
      fault.textContent = "The two passwords differ."
      again.focus()
      return
    }
    button.disabled = true
    ask<{ name: string }>("accept", { name: name.value, password: password.value }).then(
      (joined) => {
        form.remove()
        told.textContent = `Welcome, ${visible(joined.name, NAME_LENGTH)}. Sign in with your name and password.`
        const server = new URL(invite.server, location.origin)
        if (server.origin === location.origin) part<HTMLAnchorElement>("open").href = server.href
        part("way").hidden = false
        part("open").focus()
      },
      (failure: Error) => {
        fault.textContent = visible(failure.message, 300)
        button.disabled = false
      },
    )
  })
}

void start()
