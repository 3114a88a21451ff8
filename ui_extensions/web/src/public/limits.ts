/** The most that one call of a visitor may ask for, in place of `api/limits.ts`. */

/** Buckets of all lines of one question, `POST series`. */
export const SERIES_BUCKETS = 1_000_000
/** Lines of one question: runs times metrics. */
export const SERIES_LINES = 15_000
/** Bytes of one file, `POST file`. */
export const FILE_BYTES = 16 * 1024 * 1024
