/**
 * What every call of a shared link's page carries, in place of `api/headers.ts`: the key that the
 * password was exchanged for, where there is a password. It lasts as long as the tab.
 */

const STORED = "weir.share.key"

function stored(): string | null {
  try {
    return sessionStorage.getItem(STORED)
  } catch {
    return null
  }
}

let key = stored()

/** Names and values. */
export function ownHeaders(): [string, string][] {
  return key === null ? [] : [["X-Weir-Key", key]]
}

/** Keep the key for the calls that follow; null forgets it. */
export function keepKey(next: string | null): void {
  key = next
  try {
    if (next === null) sessionStorage.removeItem(STORED)
    else sessionStorage.setItem(STORED, next)
  } catch {
    // It lasts as long as the page, then.
  }
}
