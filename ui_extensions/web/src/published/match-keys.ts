/** In place of `data/match-keys.ts`, without a thread: who writes an endless pattern waits. */

/** Names that match, in order. @throws Error where the pattern cannot be read. */
export async function matchKeys(pattern: string, keys: readonly string[]): Promise<string[]> {
  const wanted = new RegExp(pattern, "u")
  return keys.filter((key) => wanted.test(key))
}
