import { svelte } from "@sveltejs/vite-plugin-svelte";
import tailwindcss from "@tailwindcss/vite";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

// The dispatcher sends files as they lie in its binary. What gets smaller lies there compressed, too; the page itself does
// not, because each answer has another nonce.
const compressedCopies: Plugin = {
  name: "compressed-copies",
  apply: "build",
  async writeBundle({ dir = "." }, bundle) {
    const files = Object.values(bundle).filter(({ fileName }) => fileName.startsWith("assets/"));
    for (const file of files) {
      const plain = Buffer.from(file.type === "chunk" ? file.code : file.source);
      const copies = { br: brotliCompressSync(plain), gz: gzipSync(plain, { level: 9 }) };
      for (const [ending, copy] of Object.entries(copies)) {
        if (copy.length < plain.length) await writeFile(join(dir, `${file.fileName}.${ending}`), copy);
      }
    }
  },
};

// The page is served from any path and under a strict policy: addresses are relative, and nothing is put into the page
// itself as a data: URL.
export default defineConfig({
  base: "./",
  plugins: [tailwindcss(), svelte(), compressedCopies],
  build: {
    outDir: "dist/site",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // One style sheet, which comes with the page: one that failed to come with a part of it is not asked for again.
    cssCodeSplit: false,
    target: "es2023",
  },
  // `npx vite` beside a dispatcher that listens where it does by default and allows this origin.
  server: { proxy: { "/ws": { target: "ws://127.0.0.1:3000", ws: true }, "/api": "http://127.0.0.1:3000" } },
});
