/** Another thread to smooth in; null where there is none. */
export function startSmoothing(): Worker | null {
  if (typeof Worker === "undefined") return null
  return new Worker(new URL("./smoothing-worker.ts", import.meta.url), { type: "module" })
}
