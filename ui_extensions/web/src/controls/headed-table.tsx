import type { ReactNode } from "react"

/** A table of things and what can be done with them, which folds into cards where it is narrow. */
export function HeadedTable({ heads, children }: { heads: readonly string[]; children: ReactNode }) {
  return (
    <table className="w-kv w-teams-table">
      <thead>
        <tr>
          {heads.map((head) => (
            <th key={head} scope="col">
              {head}
            </th>
          ))}
          <th scope="col">
            <span className="w-hidden-text">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  )
}
