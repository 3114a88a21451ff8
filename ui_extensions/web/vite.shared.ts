import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

import type { Plugin, UserConfig } from "vite"

export const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Sets the theme before the first paint: a classic script, which the browser waits for. */
export function firstPaint(html: string): Plugin {
  let reference = ""
  return {
    name: "first-paint",
    apply: "build",
    enforce: "post", // after the page itself is in the bundle
    buildStart() {
      const source = readFileSync(here("src/first-paint.js"), "utf8")
      reference = this.emitFile({ type: "asset", name: "first-paint.js", source })
    },
    generateBundle(_options, bundle) {
      const page = bundle[html]
      if (page?.type !== "asset") this.error(`no ${html} in the bundle`)
      page.source = String(page.source).replace(
        "</title>",
        `</title>\n    <script src="./${this.getFileName(reference)}"></script>`,
      )
    },
  }
}

/**
 * Gives parts other surroundings than they have inside.
 *
 * @param replaced What surrounds them inside, and what does here.
 * @param keptOut What ends the build where a part needs it: files, or folders with a slash.
 */
export function surroundings(replaced: Record<string, string>, keptOut: readonly string[]): Plugin {
  const others = new Map(Object.entries(replaced).map(([from, to]) => [here(from), here(to)]))
  const out = keptOut.map(here)
  return {
    name: "surroundings",
    enforce: "pre",
    async resolveId(source, importer, options) {
      if (importer === undefined || !source.startsWith(".")) return null
      const found = await this.resolve(source, importer, { ...options, skipSelf: true })
      if (found === null) return null
      if (out.some((one) => found.id.startsWith(one))) {
        this.error(`${found.id}, which ${importer} needs, is not for visitors`)
      }
      const other = others.get(found.id)
      return other === undefined ? found : { ...found, id: other }
    },
  }
}

/** What all bundles are built with. */
export const BUILD = {
  emptyOutDir: true,
  sourcemap: false,
  target: "es2022",
  assetsInlineLimit: 0, // the pages' CSP has no data: scripts or fonts
  modulePreload: { polyfill: false },
} satisfies UserConfig["build"]
