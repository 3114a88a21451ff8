/** What the parts of a workspace share: its view, its runs, what is selected and what is raised. */

import { createContext, useContext } from "react"

import type { Arrangement } from "../view/arrangement"
import type { ColumnChoice } from "../view/document"
import type { GroupsAnswer, KnownKeys, RunRow } from "./api"
import type { Colouring, RunLook } from "./colour-by"
import type { RunList } from "./data"
import type { ShownTest } from "./eye"

export interface Selection {
  readonly ids: ReadonlySet<string>
  readonly set: (ids: Iterable<string>) => void
  readonly toggle: (id: string) => void
}

export interface Notice {
  readonly text: string
  readonly undo?: () => void
}

export interface WorkspaceState {
  readonly experimentIds: readonly string[]
  readonly view: Arrangement
  /** Who looks; null where the server knows nobody. */
  readonly me: string | null
  readonly list: RunList
  /** The groups, where the view groups; null while they are not known. */
  readonly groups: GroupsAnswer | null
  readonly groupsError: Error | null
  readonly known: KnownKeys | null
  /** The view's columns, or what is worth a look where it names none. */
  readonly columns: readonly ColumnChoice[]
  /** The list takes the place of the charts. */
  readonly isTable: boolean
  readonly isShown: ShownTest
  /** By what runs are coloured; null where each has a colour of its own. */
  readonly colouring: Colouring | null
  readonly lookOf: (row: Pick<RunRow, "ordinal" | "colour"> & { readonly id?: string }) => RunLook
  /** The list's first ids, as many as are drawn. */
  readonly firstIds: readonly string[]
  readonly selection: Selection
  readonly raised: string | null
  readonly raise: (id: string | null) => void
  readonly notice: Notice | null
  readonly tell: (notice: Notice | null) => void
}

const WorkspaceContext = createContext<WorkspaceState | null>(null)
export const WorkspaceProvider = WorkspaceContext.Provider

/** The workspace around. */
export function useWorkspace(): WorkspaceState {
  const state = useContext(WorkspaceContext)
  if (state === null) throw new Error("useWorkspace outside a workspace")
  return state
}
