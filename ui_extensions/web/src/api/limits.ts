/** The most that one call may ask for. A shared link's page has a module of its own for this. */

/** Buckets of all lines of one question, `POST series`. */
export const SERIES_BUCKETS = 6_000_000
/** Lines of one question: runs times metrics. */
export const SERIES_LINES = 60_000
/** Bytes of one file, `POST file`. */
export const FILE_BYTES = 48 * 1024 * 1024
