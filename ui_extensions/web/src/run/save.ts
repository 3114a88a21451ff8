/** Files that a page gives to its reader. */

/** A name that every file system takes, of a name from anybody. */
export function fileName(name: string): string {
  const clean = name.replace(/[^\p{L}\p{N}._-]+/gu, "_").replace(/^[._]+/, "")
  return clean.slice(0, 80) || "run"
}

/** Let the browser save some bytes. */
export function saveFile(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob)
  const link = document.createElement("a")
  link.href = address
  link.download = name
  link.click()
  window.setTimeout(() => URL.revokeObjectURL(address), 10_000)
}
