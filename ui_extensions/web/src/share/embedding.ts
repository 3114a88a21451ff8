import { visible } from "../text/visible"

/** HTML that shows a page in a frame; it is text here, and nothing of it is ever markup of ours. */
export function frameOf(address: string, title: string): string {
  const quoted = (text: string): string => text.replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`)
  const words = quoted(visible(title, 250))
  return `<iframe src="${quoted(address)}" title="${words}" width="100%" height="600" style="border:0" loading="lazy" referrerpolicy="no-referrer"></iframe>`
}
