/** What of the workspace's tools the other end can do; a tool that it cannot is not there. */
export const OFFERS = {
  group: true,
  /** x axes beside steps, time and time since the beginning. */
  moreAxes: true,
}
