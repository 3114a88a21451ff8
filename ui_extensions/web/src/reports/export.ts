/** A report as files, and on paper. */

import { saveFile, fileName } from "../run/save"
import { showForNow } from "../theme"
import type { Node } from "./document"
import { figureOf, isComplete, pictureAddress } from "./figures"
import { markdownOf } from "./markdown"
import { staticHtml } from "./static-html"

export interface Exported {
  readonly title: string
  readonly about: string
  readonly document: Node
  /** The report as the page shows it, with all panels. */
  readonly article: Element
}

const PAINT_MS = 400

/** What is on a dark page is drawn anew for paper, and charts are painted after that. */
async function inLight<T>(article: Element, does: () => Promise<T> | T): Promise<T> {
  const back = showForNow("light")
  try {
    await isComplete(article)
    await new Promise((done) => setTimeout(done, PAINT_MS))
    return await does()
  } finally {
    back()
  }
}

export function exportHtml({ article, title }: Exported): Promise<void> {
  return inLight(article, async () => {
    const text = await staticHtml(article, title)
    saveFile(new Blob([text], { type: "text/html" }), `${fileName(title)}.html`)
  })
}

export function exportMarkdown({ article, title, about, document }: Exported): Promise<void> {
  return inLight(article, async () => {
    const figures = []
    for (const panel of article.querySelectorAll(".w-panel")) figures.push(await figureOf(panel))
    const pictures = new Map<string, string>()
    for (const figure of article.querySelectorAll(".w-report-picture")) {
      const image = figure.querySelector("img")
      const address = image && (await pictureAddress(image))
      if (address) pictures.set(figure.getAttribute("data-image") ?? "", address)
    }
    const text = markdownOf(document, { title, about, figures, pictures })
    saveFile(new Blob([text], { type: "text/markdown" }), `${fileName(title)}.md`)
  })
}

/** The browser's own way to paper and PDF: charts are drawn anew as wide as paper is. */
export async function printReport({ article }: Exported): Promise<void> {
  const page = document.documentElement
  page.classList.add("w-on-paper")
  try {
    await inLight(article, () => window.print())
  } finally {
    page.classList.remove("w-on-paper")
  }
}
