import { useEffect, useState } from "react"

import { Button, IconButton } from "./button"

/** Put text on the clipboard, also where the page is not served over https. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    // Not a secure context: the older way, which needs a selected field.
  }
  const field = document.createElement("textarea")
  field.value = text
  field.className = "w-hidden-text"
  document.body.append(field)
  field.select()
  const isDone = document.execCommand("copy")
  field.remove()
  return isDone
}

/** A button that copies; it says so for two seconds. */
export function CopyButton({
  text,
  label,
  isWorded = false,
}: {
  text: string
  label: string
  isWorded?: boolean
}) {
  const [said, setSaid] = useState<string | null>(null)
  useEffect(() => {
    if (said === null) return
    const timer = window.setTimeout(() => setSaid(null), 2_000)
    return () => window.clearTimeout(timer)
  }, [said])
  const copy = (): void => {
    void copyText(text).then((isDone) => setSaid(isDone ? "Copied" : "Could not copy"))
  }
  const icon = said === "Copied" ? "check" : "copy"
  return (
    <>
      {isWorded ? (
        <Button icon={icon} isSmall onClick={copy}>
          {said ?? label}
        </Button>
      ) : (
        <IconButton icon={icon} label={said ?? label} isSmall onClick={copy} />
      )}
      <span className="w-hidden-text" role="status">
        {said}
      </span>
    </>
  )
}
