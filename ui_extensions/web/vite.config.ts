import react from "@vitejs/plugin-react"
import { defineConfig } from "vitest/config"

import { BUILD, firstPaint, here } from "./vite.shared.ts"

export default defineConfig({
  base: "./", // the server may mount the bundle below any prefix
  plugins: [react(), firstPaint("index.html")],
  publicDir: false,
  build: {
    ...BUILD,
    outDir: "../static",
    manifest: "manifest.json",
    rollupOptions: { input: { index: here("index.html"), stock: here("src/stock/main.ts") } },
  },
  worker: { format: "es" },
  test: {
    environment: "node",
    include: ["src/**/*.test.{ts,tsx}"],
    restoreMocks: true,
  },
})
