// Takes docs/screenshots/<page>-{light,dark,phone}.png: each page on the same working day, in both themes and on a phone.
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import sharp from "sharp";
import type { Page } from "@playwright/test";
import { PLACES, test } from "./support/scene";
import { expect, settled, visit } from "./support/story";

const OUT = resolve(__dirname, "../../docs/screenshots");
const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1440, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1440, height: 900 } },
  phone: { colorScheme: "light", viewport: { width: 390, height: 844 } },
} as const;
// Their graphs grow a point every ten seconds, so they come last.
const LATE = ["machines", "machine", "container"];

/** What is done on a page before its picture is taken. */
const BEFORE: Record<string, (page: Page) => Promise<unknown>> = {
  "job-artifacts": async (page) => {
    await page.getByRole("tab", { name: "Artifacts" }).click();
    await expect(page.getByRole("main").locator("img[src^='blob:']").first()).toBeVisible();
  },
  submit: async (page) => {
    await page.getByLabel("Command").fill("make -j4\nmake test");
    await page.getByLabel("Name", { exact: true }).fill("nightly build");
    await page.getByLabel("Tags").fill("ci nightly");
  },
};

test("pictures of every page", async ({ browser, day }) => {
  await mkdir(OUT, { recursive: true });
  const pages = new Map<string, Page>();
  // An overview that is looked at all the while, for there to be something in its graphs.
  const overviews = new Map<string, Page>();
  const admin = await day.server.admin();
  for (const [look, options] of Object.entries(LOOKS)) {
    const context = await browser.newContext({ ...options, baseURL: day.server.origin, reducedMotion: "reduce" });
    const page = await context.newPage();
    pages.set(look, page);
    await page.goto("/");
    await expect(page.getByRole("button", { name: "Sign in" })).toBeVisible();
    await keep(page, `signin-${look}`);
    const overview = await context.newPage();
    overviews.set(look, overview);
    await visit(overview, day.server.adminToken, "/");
    await settled(overview);
    await visit(page, day.server.adminToken, "/");
    await page.reload();
    await settled(page);
    await page.keyboard.press("Control+K");
    await page.keyboard.type("resnet");
    await expect(page.getByRole("dialog").getByText("train resnet50").first()).toBeVisible();
    await keep(page, `palette-${look}`);
    await page.keyboard.press("Escape");
  }
  const names = Object.keys(PLACES).filter((name) => name !== "overview");
  names.sort((a, b) => LATE.indexOf(a) - LATE.indexOf(b));
  for (const name of names) {
    for (const [look, page] of pages) {
      await page.goto(`/#${PLACES[name]!(day)}`);
      await settled(page);
      await BEFORE[name]?.(page);
      await keep(page, `${name}-${look}`);
      await admin.submit("render --frame 1181 --samples 256", { name: "render frame 1181", tags: ["nightly"] });
    }
  }
  for (const [look, page] of overviews) {
    await page.bringToFront();
    await settled(page);
    await keep(page, `overview-${look}`);
  }
  admin.close();
});

/** A picture with few colours, which is what pages have: a quarter of the bytes. */
async function keep(page: Page, name: string): Promise<void> {
  await page.evaluate(() => document.fonts.ready);
  const picture = await page.screenshot({ animations: "disabled", caret: "hide" });
  await writeFile(
    join(OUT, `${name}.png`),
    await sharp(picture).png({ palette: true, colours: 128, effort: 10 }).toBuffer(),
  );
}
