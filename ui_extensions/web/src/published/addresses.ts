/** Where published pages are, in place of `addresses.ts`: nothing is ever asked of an address. */

export const PAGES = new URL(location.href.replace(/[?#].*/, ""))
export const API = PAGES
