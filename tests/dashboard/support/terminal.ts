// The terminal as somebody uses it.
import { expect, type Page } from "@playwright/test";

/** The rows that are on the screen. */
export const rows = (page: Page) => page.locator(".xterm-rows");

/** All that the terminal holds, by selecting from its first row to its last and copying that. */
export async function wholeText(page: Page): Promise<string> {
  const box = await page.locator(".xterm-screen").boundingBox();
  if (!box) throw new Error("there is no terminal");
  await page.mouse.move(box.x + 1, box.y + 4);
  await scrollTo(page, "top");
  await page.mouse.click(box.x + 1, box.y + 4);
  await scrollTo(page, "end");
  await page.keyboard.down("Shift");
  await page.mouse.click(box.x + box.width - 1, box.y + box.height - 4);
  await page.keyboard.up("Shift");
  await page.evaluate(() => {
    document.addEventListener(
      "copy",
      (event) => (document.documentElement.dataset["copied"] = event.clipboardData?.getData("text/plain")),
      { once: true },
    );
  });
  await page.keyboard.press("Control+C");
  const copied = page.locator("html[data-copied]");
  await expect(copied).toHaveCount(1);
  return (await copied.getAttribute("data-copied")) ?? "";
}

/** Turns the wheel until the rows are those at the top, or at the end. */
async function scrollTo(page: Page, where: "top" | "end"): Promise<void> {
  const seen = () => rows(page).innerText();
  for (let before = ""; before !== (before = await seen());) {
    await page.mouse.wheel(0, where === "top" ? -1e6 : 1e6);
    // Rows are drawn with the next frame.
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  }
}
