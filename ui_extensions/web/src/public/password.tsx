import { useId, useState } from "react"

import { Button } from "../controls/button"
import { visible } from "../text/visible"
import { unlock } from "./share"
import { Shell } from "./shell"

/** One field; what is behind it is not told before. */
export function Password({ onKey }: { onKey: (key: string) => void }) {
  const id = useId()
  const [password, setPassword] = useState("")
  const [fault, setFault] = useState("")
  const [isBusy, setBusy] = useState(false)
  const submit = async (): Promise<void> => {
    setBusy(true)
    setFault("")
    try {
      onKey(await unlock(password))
    } catch (failure) {
      setFault(failure instanceof Error ? failure.message : String(failure))
      setBusy(false)
    }
  }
  return (
    <Shell title="Shared with a password">
      <form
        className="w-visit-lock"
        onSubmit={(event) => {
          event.preventDefault()
          void submit()
        }}
      >
        <label htmlFor={id}>Password</label>
        <input
          id={id}
          className="w-input"
          type="password"
          autoComplete="current-password"
          autoFocus
          required
          value={password}
          aria-invalid={fault !== ""}
          aria-describedby={fault ? `${id}-fault` : undefined}
          onChange={(event) => setPassword(event.target.value)}
        />
        {fault && (
          <p id={`${id}-fault`} role="alert" className="w-text-bad">
            {visible(fault, 200)}
          </p>
        )}
        <Button kind="primary" type="submit" disabled={isBusy || password === ""}>
          Open
        </Button>
      </form>
    </Shell>
  )
}
