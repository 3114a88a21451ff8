/** A view as who only looks at runs uses it: the document, changed, undone and done again. */

import type { Patch, ViewDocument } from "./document"

export interface Arrangement {
  readonly doc: ViewDocument
  /** Who looks; absent where the server knows nobody. */
  readonly user?: string | null
  /** Change it; quick changes with the same word are one step of undo. */
  readonly update: (patch: Patch, word?: string) => void
  readonly undo: () => void
  readonly redo: () => void
  readonly canUndo: boolean
  readonly canRedo: boolean
}
