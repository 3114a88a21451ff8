/** Which params go with what runs are compared by. */

import type { Association } from "./association"
import { associate } from "./association"
import type { CellRow } from "./use-cells"
import { numberOf } from "./use-cells"

/**
 * How each param goes with the first of the cells, the strongest first; those that cannot be told
 * are left out.
 *
 * @param params Columns of the cells behind the first one.
 */
export function associations(rows: readonly CellRow[], params: readonly string[]): Association[] {
  const values = rows.map(({ cells }) => numberOf(cells[0]))
  return params
    .map((column, at) => {
      const words = rows.map(({ cells }) => {
        const cell = cells[at + 1]
        return cell === null || cell === undefined ? null : String(cell)
      })
      return associate(column, words, values)
    })
    .filter((one) => one !== null)
    .sort((a, b) => b.strength - a.strength)
}

/** The params by how they go with the first of the cells; behind them those that cannot be told. */
export function strongest(rows: readonly CellRow[], params: readonly string[]): string[] {
  const told = associations(rows, params).map((one) => one.key)
  return [...told, ...params.filter((one) => !told.includes(one))]
}
