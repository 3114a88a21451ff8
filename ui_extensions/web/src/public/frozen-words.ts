/** In place of `reports/frozen-words.ts`: a link's frozen runs were written down when it was made. */
export const FROZEN_WORDS = "params and tags as they were when this was shared"
