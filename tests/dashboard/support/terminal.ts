// The terminal as somebody uses it.
import { expect, type Page } from "@playwright/test";

/** The rows that are on the screen. While the terminal makes others, a picture of what was there lies above its own. */
export const rows = (page: Page) => page.locator(".xterm-rows").last();

/** All that the terminal holds, by selecting from its first row to its last and copying that. */
export async function wholeText(page: Page): Promise<string> {
  // Nothing lies over it, and it has the size that what went from beside it leaves to it: that is seen in the next frame.
  await expect(page.getByText(/^Connected again\./)).toHaveCount(0);
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  const box = await page.locator(".xterm-screen").boundingBox();
  if (!box) throw new Error("there is no terminal");
  await scrollTo(page, box, "top");
  await page.mouse.click(box.x + 1, box.y + 4);
  await scrollTo(page, box, "end");
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

/** Draws the handle of the scroll bar all the way. */
async function scrollTo(page: Page, box: { y: number; height: number }, where: "top" | "end"): Promise<void> {
  const handle = await page.locator(".xterm .scrollbar.vertical .slider").boundingBox();
  if (!handle) throw new Error("there is nothing to scroll");
  const x = handle.x + handle.width / 2;
  await page.mouse.move(x, handle.y + handle.height / 2);
  await page.mouse.down();
  await page.mouse.move(x, where === "top" ? box.y - 50 : box.y + box.height + 50);
  await page.mouse.up();
}
