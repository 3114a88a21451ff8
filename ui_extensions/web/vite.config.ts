import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

import react from "@vitejs/plugin-react"
import type { Plugin } from "vite"
import { defineConfig } from "vitest/config"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Sets the theme before the first paint: a classic script, which the browser waits for. */
function firstPaint(): Plugin {
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
      const page = bundle["index.html"]
      if (page?.type !== "asset") this.error("no index.html in the bundle")
      page.source = String(page.source).replace(
        "</title>",
        `</title>\n    <script src="./${this.getFileName(reference)}"></script>`,
      )
    },
  }
}

export default defineConfig({
  base: "./", // the server may mount the bundle below any prefix
  plugins: [react(), firstPaint()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    sourcemap: false,
    target: "es2022",
    manifest: "manifest.json",
    assetsInlineLimit: 0, // the pages' CSP has no data: scripts or fonts
    modulePreload: { polyfill: false },
    rollupOptions: { input: { index: here("index.html"), stock: here("src/stock/main.ts") } },
  },
  worker: { format: "es" },
  test: {
    environment: "node",
    include: ["src/**/*.test.{ts,tsx}"],
    restoreMocks: true,
  },
})
