/** In place of `data/smoothing-thread.ts`: a page from a folder may start no thread. */
export function startSmoothing(): Worker | null {
  return null
}
