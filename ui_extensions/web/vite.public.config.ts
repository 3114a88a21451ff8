/**
 * The bundle that visitors of a shared link get, a build of its own: the pages' reading parts in
 * other surroundings. A part that writes, or that knows MLflow's addresses, ends the build.
 */

import react from "@vitejs/plugin-react"
import { defineConfig } from "vite"

import { BUILD, firstPaint, here, surroundings } from "./vite.shared.ts"

/** What surrounds the parts inside, and what does here. */
export const SURROUNDINGS: Record<string, string> = {
  "src/addresses.ts": "src/public/addresses.ts",
  "src/router.ts": "src/public/router.ts",
  "src/api/headers.ts": "src/public/headers.ts",
  "src/api/limits.ts": "src/public/limits.ts",
  "src/layout/stock-link.tsx": "src/public/stock-link.tsx",
  "src/reports/frozen-words.ts": "src/public/frozen-words.ts",
}

export const KEPT_OUT = [
  "src/alerts/",
  "src/api/stock.ts",
  "src/layout/page.tsx",
  "src/palette/",
  "src/reports/add-dialog.tsx",
  "src/reports/add.tsx",
  "src/reports/api.ts",
  "src/reports/comments.tsx",
  "src/reports/editor",
  "src/reports/panel-dialog.tsx",
  "src/reports/saving.ts",
  "src/run/notes.tsx",
  "src/run/tags.tsx",
  "src/runs/act.ts",
  "src/runs/run-actions.ts",
  "src/runs/tag-fields.tsx",
  "src/share/",
  "src/stock/",
  "src/teams/",
  "src/view/api.ts",
  "src/view/store.ts",
]

export default defineConfig({
  base: "./",
  plugins: [surroundings(SURROUNDINGS, KEPT_OUT), react(), firstPaint("public.html")],
  publicDir: false,
  build: {
    ...BUILD,
    outDir: "../static/public",
    rollupOptions: { input: { public: here("public.html"), gone: here("gone.html"), invite: here("invite.html") } },
  },
  worker: { format: "es", plugins: () => [surroundings(SURROUNDINGS, KEPT_OUT)] },
})
