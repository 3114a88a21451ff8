/** Where the extension is mounted, told from where its own files came from. */

function mountedAt(): URL {
  const here = new URL(import.meta.url)
  const end = here.pathname.lastIndexOf("/weir/assets/")
  const path = end < 0 ? "/weir/" : here.pathname.slice(0, end + "/weir/".length)
  return new URL(path, here)
}

/** `<prefix>/weir/`, with its trailing slash. */
export const PAGES = mountedAt()
/** `<prefix>/`: MLflow's own page. */
export const STOCK = new URL("../", PAGES)
/** `<prefix>/ajax-api/3.0/weir/`. */
export const API = new URL("ajax-api/3.0/weir/", STOCK)
