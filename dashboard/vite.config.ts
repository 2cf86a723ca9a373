import { svelte } from "@sveltejs/vite-plugin-svelte";
import tailwindcss from "@tailwindcss/vite";
import { defineConfig } from "vitest/config";

// The page is served from any path and under a strict policy: addresses are relative, and nothing is put into the page
// itself as a data: URL.
export default defineConfig({
  base: "./",
  plugins: [tailwindcss(), svelte()],
  build: {
    outDir: "dist/site",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2023",
  },
  // `npx vite` beside a dispatcher that listens where it does by default and allows this origin.
  server: { proxy: { "/ws": { target: "ws://127.0.0.1:3000", ws: true }, "/api": "http://127.0.0.1:3000" } },
});
