// Each page, with a working day's jobs on it, in both themes and on a phone: whether people who see or move otherwise can
// use it, as far as a program can tell, and whether it fits.
import AxeBuilder from "@axe-core/playwright";
import { PLACES, test } from "./support/scene";
import { expect, settled, visit } from "./support/story";

const STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

for (const [name, place] of Object.entries(PLACES)) {
  for (const colorScheme of ["light", "dark"] as const) {
    test(`${name} in ${colorScheme} has nothing that axe objects to`, async ({ page, day }) => {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await visit(page, day.server.adminToken, place(day));
      await settled(page);
      const { violations } = await new AxeBuilder({ page }).withTags(STANDARDS).analyze();
      const said = violations.map(
        ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join("; ")}`,
      );
      expect(said).toEqual([]);
    });
  }

  test(`${name} fits on a phone`, async ({ page, day }) => {
    await page.setViewportSize({ width: 390, height: 844 });
    await visit(page, day.server.adminToken, place(day));
    await settled(page);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  });
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`the sign-in page in ${colorScheme} has nothing that axe objects to`, async ({ page }) => {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.goto("/");
    await expect(page.getByRole("button", { name: "Sign in" })).toBeVisible();
    const { violations } = await new AxeBuilder({ page }).withTags(STANDARDS).analyze();
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join("; ")}`)).toEqual([]);
  });
}
