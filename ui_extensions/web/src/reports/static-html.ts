/**
 * A report as one HTML file that needs nothing else: what the page shows, with charts as drawings.
 * It is a copy of the page's own elements, written out by the browser, so that text stays text.
 */

import { figureOf, pictureAddress, svgAddress } from "./figures"

const STYLE = `
body { margin: 0 auto; max-width: 860px; padding: 32px 24px; font: 15px/1.6 system-ui, sans-serif; color: #161616; background: #fff; overflow-wrap: anywhere }
h1, h2, h3, h4 { line-height: 1.25; margin: 1.4em 0 .5em }
a { color: #2272b4 }
img, svg { max-width: 100%; height: auto }
pre { padding: 12px; overflow: auto; background: #f7f7f7; border-radius: 4px }
code { font: 13px Consolas, Menlo, monospace }
table { border-collapse: collapse; font-size: 13px }
th, td { border: 1px solid #d8d8d8; padding: 4px 8px; text-align: left; vertical-align: top }
td > p, th > p, li > p, .w-report-tasks p, .w-callout p { margin: 0 }
.w-number { text-align: right }
blockquote { margin: 0; padding-left: 12px; border-left: 3px solid #cbcbcb; color: #555 }
.w-callout { display: flex; gap: 10px; padding: 10px 14px; border-left: 4px solid #2272b4; background: #f3f8fc }
.w-callout-tip { border-color: #277c43; background: #f3fcf6 }
.w-callout-warning { border-color: #be501e; background: #fff9eb }
.w-callout-danger { border-color: #c82d4c; background: #fff5f7 }
.w-report-tasks { list-style: none; padding-left: 4px }
.w-report-tasks li { display: flex; gap: 8px }
figure { margin: 1em 0 }
figcaption, .w-secondary { color: #6f6f6f; font-size: 13px }
.w-report-math { overflow: auto; text-align: center }
`
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
const LEFT_OUT = "button, input, select, textarea, script, style, .w-icon, .w-panel-tools, .w-panel-actions, .w-hidden-text, .w-off-paper"
/** Of the page, not of the document. */
const ATTRIBUTES = ["tabindex", "data-image", "data-kind", "title"]

function element(name: string, text = ""): HTMLElement {
  const made = document.createElement(name)
  made.textContent = text
  return made
}

function image(address: string, alt: string): HTMLElement {
  const made = document.createElement("img")
  made.src = address
  made.alt = alt
  return made
}

async function figureElement(panel: Element): Promise<HTMLElement> {
  const figure = await figureOf(panel)
  const made = element("figure")
  for (const drawing of figure.drawings) made.append(image(svgAddress(drawing), "chart"))
  for (const { address, alt } of figure.pictures) made.append(image(address, alt))
  for (const rows of figure.tables) {
    const table = element("table")
    const body = element("tbody")
    rows.forEach((cells, at) => {
      const row = element("tr")
      cells.forEach((cell) => row.append(element(at === 0 ? "th" : "td", cell)))
      body.append(row)
    })
    table.append(body)
    made.append(table)
  }
  if (figure.text) made.append(element("pre", figure.text))
  made.append(element("figcaption", figure.title))
  return made
}

/**
 * @param article The report as the page shows it, complete.
 * @returns The text of the file.
 */
export async function staticHtml(article: Element, title: string): Promise<string> {
  const copy = article.cloneNode(true) as Element
  const panels = [...article.querySelectorAll(".w-panel")]
  const copies = [...copy.querySelectorAll(".w-panel")]
  for (const [at, panel] of panels.entries()) copies[at]?.replaceWith(await figureElement(panel))
  const pictures = [...article.querySelectorAll<HTMLImageElement>(".w-report-picture img")]
  const pictureCopies = [...copy.querySelectorAll<HTMLImageElement>(".w-report-picture img")]
  for (const [at, picture] of pictures.entries()) {
    const address = await pictureAddress(picture)
    const made = pictureCopies[at]
    if (made && address) made.src = address
    else made?.remove()
  }
  for (const one of copy.querySelectorAll(LEFT_OUT)) one.remove()
  for (const one of [copy, ...copy.querySelectorAll("*")]) for (const name of ATTRIBUTES) one.removeAttribute(name)
  const body = new XMLSerializer().serializeToString(copy).replaceAll(' xmlns="http://www.w3.org/1999/xhtml"', "")
  const head = element("title", title)
  const titleText = new XMLSerializer().serializeToString(head).replaceAll(' xmlns="http://www.w3.org/1999/xhtml"', "")
  return [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `${titleText}<style>${STYLE}</style></head>`,
    `<body>${body}</body></html>`,
    "",
  ].join("\n")
}
