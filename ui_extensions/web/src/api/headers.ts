/** What every call carries beside its body. A shared link's page has a module of its own for this. */

import { workspace } from "../router"

/** Names and values. */
export function ownHeaders(): [string, string][] {
  const named = workspace()
  return named === null ? [] : [["X-MLFLOW-WORKSPACE", named]]
}
