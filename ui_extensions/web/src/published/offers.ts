/** In place of `offers.ts`: what published pages do without a server. */
export const OFFERS = { group: true, moreAxes: true }
