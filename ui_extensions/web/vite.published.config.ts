/**
 * The pages that are published, of runs and of a report (`--mode`): the page of a shared link in
 * surroundings without a server. One classic script and one style sheet each, which a browser also
 * takes from a folder (`file:`), where it refuses modules, workers and `fetch`.
 */

import { readFileSync } from "node:fs"

import react from "@vitejs/plugin-react"
import type { Plugin } from "vite"
import { defineConfig } from "vite"

import { KEPT_OUT, SURROUNDINGS } from "./vite.public.config.ts"
import { BUILD, here, surroundings } from "./vite.shared.ts"

const PUBLISHED: Record<string, string> = {
  ...SURROUNDINGS,
  "src/addresses.ts": "src/published/addresses.ts",
  "src/api/client.ts": "src/published/client.ts",
  "src/data/ask-series.ts": "src/published/ask-series.ts",
  "src/data/match-keys.ts": "src/published/match-keys.ts",
  "src/data/smoothing-thread.ts": "src/published/smoothing-thread.ts",
  "src/offers.ts": "src/published/offers.ts",
}

// What a report is drawn with, formulas above all, is half as much again.
const NO_REPORTS = { "src/public/report.tsx": "src/published/report.tsx" }

/** What the page has beside its script, which `publishing/page_files.py` puts into it. */
const beside: Plugin = {
  name: "beside",
  buildStart() {
    for (const name of ["first-paint.js", "icon.svg"]) {
      this.emitFile({ type: "asset", fileName: name, source: readFileSync(here(`src/${name}`), "utf8") })
    }
  },
}

export default defineConfig(({ mode }) => ({
  base: "./",
  plugins: [surroundings(mode === "report" ? PUBLISHED : { ...PUBLISHED, ...NO_REPORTS }, KEPT_OUT), react(), beside],
  publicDir: false,
  define: { "process.env.NODE_ENV": '"production"' },
  build: {
    ...BUILD,
    emptyOutDir: mode === "runs", // the first of the two
    outDir: "../static/published",
    cssCodeSplit: false,
    chunkSizeWarningLimit: 1_200,
    modulePreload: false,
    rollupOptions: {
      // What is left of it is Vite's own, for modules that are loaded later; here none are.
      onwarn: (warning, warn) => {
        if (warning.code !== "EMPTY_IMPORT_META") warn(warning)
      },
      input: here("src/public/main.tsx"),
      output: {
        format: "iife",
        entryFileNames: `${mode}.js`,
        assetFileNames: `${mode}[extname]`,
      },
    },
  },
}))
