// Copying, in a page that came without TLS from another machine: such a page has no clipboard of its own.
import { expect, test, visit, type Page } from "./support/story";
import { rows } from "./support/terminal";

test.use({ host: "box.lan" });

/** A token that was just made, in the dialog that shows it this once. */
async function newToken(page: Page): Promise<string> {
  await page.getByRole("button", { name: "New token" }).click();
  await page.getByRole("button", { name: "Make the token" }).click();
  return page.getByRole("dialog").locator("code").first().innerText();
}

/** What is in the clipboard, by the one way to it that such a page has. */
async function pasted(page: Page): Promise<string> {
  await page.goto("/#/submit");
  await page.getByLabel("Command").press("Control+v");
  return page.getByLabel("Command").inputValue();
}

test("what says that it was copied was: a token in its dialog, a link to a line", async ({ page, admin, baseURL }) => {
  await visit(page, admin.token, "/account");
  expect(await page.evaluate(() => isSecureContext)).toBe(false);
  const token = await newToken(page);
  await page.getByRole("button", { name: "Copy the token" }).click();
  await expect(page.getByRole("button", { name: "Copied" })).toBeVisible();
  await page.getByRole("button", { name: "Done" }).click();
  expect(await pasted(page)).toBe(token);

  const job = await admin.submit("echo hello");
  await admin.output(job);
  await page.goto(`/#/jobs/${job}`);
  await expect(rows(page)).toContainText("hello");
  await page.getByRole("button", { name: "Copy a link to this line" }).click();
  await expect(page.getByText("Copied a link to this line.")).toBeVisible();
  expect(await pasted(page)).toMatch(new RegExp(`^${baseURL}/#/jobs/${job}\\?at=1-`));
});

test("what cannot be copied is said, and selected for the keys that can", async ({ page, admin, baseURL }) => {
  // As in browsers that are set to let no page copy.
  await page.addInitScript(() => (document.execCommand = () => false));
  await visit(page, admin.token, "/account");
  const token = await newToken(page);
  await page.getByRole("button", { name: "Copy the token" }).click();
  await expect(page.getByRole("dialog").getByRole("alert")).toContainText("It is selected: press Ctrl C.");
  await expect(page.getByRole("button", { name: "Copied" })).toHaveCount(0);
  await page.keyboard.press("Control+c");
  await page.getByRole("button", { name: "Done" }).click();
  expect(await pasted(page)).toBe(token);

  const job = await admin.submit("echo hello");
  await admin.output(job);
  await page.goto(`/#/jobs/${job}`);
  await expect(rows(page)).toContainText("hello");
  await page.getByRole("button", { name: "Copy a link to this line" }).click();
  await expect(page.getByRole("alert")).toContainText("It is selected: press Ctrl C.");
  await page.keyboard.press("Control+c");
  expect(await pasted(page)).toMatch(new RegExp(`^${baseURL}/#/jobs/${job}\\?at=1-`));
});
