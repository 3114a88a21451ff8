/**
 * Where a shared link's page is, in place of `addresses.ts`: below it are the only calls that it
 * makes. MLflow's pages and API have no address here, so nothing of this bundle can lead to them.
 */

const path = location.pathname.replace(/\/+$/, "")

/** `<prefix>/weir/s/TOKEN`. */
export const PAGES = new URL(path, location.origin)
/** `<prefix>/weir/s/TOKEN/api/`. */
export const API = new URL(`${path}/api/`, location.origin)
