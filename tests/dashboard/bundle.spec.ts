// What the page weighs before anybody has asked for output or graphs.
import type { Request } from "@playwright/test";
import { expect, figures, test, visit } from "./support/story";

/** Compressed, as it comes over the network. */
const BUNDLE_BYTES = 350 * 1024;

test("the overview comes with less than 350 KB, without terminal and graphs", async ({ page, server }) => {
  const files: Promise<{
    name: string;
    bytes: number;
    encoding: string | null;
    text: string;
  }>[] = [];
  const weigh = (request: Request) => {
    files.push(
      (async () => {
        const response = await request.response();
        const { responseBodySize, responseHeadersSize } = await request.sizes();
        const encoding = (await response?.headerValue("content-encoding")) ?? null;
        const text = (await response?.text()) ?? "";
        return {
          name: new URL(request.url()).pathname,
          bytes: responseBodySize + responseHeadersSize,
          encoding,
          text,
        };
      })(),
    );
  };
  page.on("requestfinished", weigh);
  await visit(page, server.adminToken, "/");
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  // What comes later is nobody's, and could not be weighed to the end.
  page.off("requestfinished", weigh);
  const loaded = await Promise.all(files);
  const bytes = loaded.reduce((sum, file) => sum + file.bytes, 0);
  figures(`${(bytes / 1024).toFixed(0)} KB in ${loaded.length} files`);
  expect(bytes).toBeLessThan(BUNDLE_BYTES);
  const scripts = loaded.filter(({ name }) => name.endsWith(".js"));
  expect(scripts.length).toBeGreaterThan(0);
  expect(
    scripts.filter(({ text, encoding }) => text.length > 2048 && encoding !== "br").map(({ name }) => name),
  ).toEqual([]);
  // Names of classes that are in the terminal's and in the graphs' code, and in no other.
  expect(scripts.filter(({ text }) => /xterm-rows|u-legend/.test(text)).map(({ name }) => name)).toEqual([]);
});
