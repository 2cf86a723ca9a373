// Accounts: what people say of themselves, how they are signed in, what administrators do, and what is written down of it.
import { expect, signIn, test, visit, withhold, type Page } from "./support/story";

const PASSWORD = "correct horse battery";
const OTHER_PASSWORD = "battery staple correct";
/** The smallest picture there is. */
const PICTURE = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

const isIn = (page: Page) => expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();
const isOut = (page: Page) => expect(page.getByRole("button", { name: "Sign in" })).toBeVisible();

test("people say who they are, and show themselves", async ({ page, server }) => {
  await server.user("ada", PASSWORD);
  await signIn(page, "ada", PASSWORD);
  await isIn(page);
  await page.goto("/#/account");
  await page.getByLabel("Nickname").fill("Countess");
  await page.getByLabel("Email").fill("ada@example.org");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("Saved.")).toBeVisible();
  await page.getByLabel("Picture").setInputFiles({ name: "me.png", mimeType: "image/png", buffer: PICTURE });
  await expect(page.getByRole("img", { name: "You" })).toBeVisible();
  await page.getByRole("button", { name: "Remove", exact: true }).click();
  await expect(page.getByRole("img", { name: "You" })).toHaveCount(0);
  await page.reload();
  await expect(page.getByLabel("Nickname")).toHaveValue("Countess");
});

test("a token of one's own is shown once, opens the door, and is revoked", async ({ page, server }) => {
  await server.user("ada", PASSWORD);
  await signIn(page, "ada", PASSWORD);
  await isIn(page);
  await page.goto("/#/account");
  await page.getByRole("button", { name: "New token" }).click();
  await page.getByLabel("Name", { exact: true }).fill("laptop");
  await page.getByRole("button", { name: "Make the token" }).click();
  const token = await page.getByRole("dialog").locator("code").first().innerText();
  const info = () => fetch(`${server.origin}/api/user/info`, { headers: { authorization: `Bearer ${token}` } });
  expect((await info()).status).toBe(200);
  await page.getByRole("button", { name: "Done" }).click();
  await expect(page.getByText(token)).toHaveCount(0);
  await page
    .getByRole("row", { name: /laptop/ })
    .getByRole("button", { name: "Revoke" })
    .click();
  await page.getByRole("button", { name: "Revoke it" }).click();
  await expect(page.getByRole("row", { name: /laptop/ })).toHaveCount(0);
  expect((await info()).status).toBe(401);
});

test("tabs are signed in and out together, and a new password ends what is elsewhere", async ({
  page,
  context,
  browser,
  server,
}) => {
  await server.user("ada", PASSWORD);
  await page.goto("/");
  await page.getByLabel("Stay signed in on this device").check();
  await page.getByLabel("Account or email").fill("ada");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await isIn(page);
  const tab = await context.newPage();
  await tab.goto("/#/account");
  await expect(tab.getByText("this one")).toBeVisible();
  const elsewhere = await (await browser.newContext({ baseURL: server.origin })).newPage();
  await signIn(elsewhere, "ada", PASSWORD);
  await isIn(elsewhere);

  await tab.getByLabel("Present password").fill(PASSWORD);
  await tab.getByLabel("New password", { exact: true }).fill(OTHER_PASSWORD);
  await tab.getByLabel("New password again").fill(OTHER_PASSWORD);
  await tab.getByRole("button", { name: "Change the password" }).click();
  await isOut(elsewhere);
  await elsewhere.context().close();
  for (const one of [page, tab]) {
    await isIn(one);
    await one.reload();
    await isIn(one);
  }
  await tab.getByRole("button", { name: "Sign out" }).click();
  await isOut(tab);
  await isOut(page);
});

test("a tab that is long in hearing of its new token is not signed out by another", async ({
  page,
  context,
  server,
}) => {
  await server.user("ada", PASSWORD);
  await page.clock.install();
  await page.goto("/");
  await page.getByLabel("Stay signed in on this device").check();
  await page.getByLabel("Account or email").fill("ada");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await isIn(page);
  const tab = await context.newPage();
  const answer = await withhold(tab, /"opt":"ok".*"token":/);
  await tab.goto("/#/account");
  await tab.getByLabel("Present password").fill(PASSWORD);
  await tab.getByLabel("New password", { exact: true }).fill(OTHER_PASSWORD);
  await tab.getByLabel("New password again").fill(OTHER_PASSWORD);
  await tab.getByRole("button", { name: "Change the password" }).click();
  await answer.said(/"opt":"ok".*"token":/);
  await isOut(page);
  await page.clock.fastForward(5_000);
  expect(await page.evaluate(() => localStorage.length), "it is the other tab's to replace").toBe(1);
  answer.letGo();
  for (const one of [page, tab]) {
    await isIn(one);
    await one.reload();
    await isIn(one);
  }
});

test("an administrator adds, raises and removes an account, and it is written down", async ({ page, admin }) => {
  await visit(page, admin.token, "/admin/users");
  await page.getByRole("button", { name: "New account" }).click();
  await page.getByLabel("Account", { exact: true }).fill("grace");
  await page.getByRole("button", { name: "Add the account" }).click();
  await page.getByRole("button", { name: /Role of grace: user/ }).click();
  await page.getByRole("button", { name: "Make an administrator" }).click();
  await expect(page.getByRole("button", { name: /Role of grace: admin/ })).toBeVisible();
  await page.getByRole("button", { name: "Remove grace" }).click();
  await page.getByRole("button", { name: "Remove the account" }).click();
  await expect(page.getByRole("row", { name: /grace/ })).toHaveCount(0);

  await page.getByRole("link", { name: "Audit log" }).click();
  for (const deed of ["added the account", "set the role of", "removed the account"]) {
    await expect(page.getByRole("row", { name: new RegExp(`admin ${deed} grace`) })).toBeVisible();
  }
  await page.getByLabel("What").selectOption("removed the account");
  await expect(page.getByRole("row", { name: /added the account/ })).toHaveCount(0);
  await page.reload();
  await expect(page.getByRole("row", { name: /removed the account grace/ })).toBeVisible();
});

test("users are told that administration is not theirs", async ({ page, server }) => {
  const ada = await server.user("ada", PASSWORD);
  await visit(page, ada.token, "/admin/users");
  await expect(page.getByText("This is for administrators")).toBeVisible();
  ada.close();
});

test("an answer that is cut off, and a picture that does not come, are told of", async ({ page, server }) => {
  await server.user("ada", PASSWORD);
  await signIn(page, "ada", PASSWORD);
  await isIn(page);
  await page.goto("/#/account");
  await page.getByLabel("Picture").setInputFiles({ name: "me.png", mimeType: "image/png", buffer: PICTURE });
  await expect(page.getByRole("img", { name: "You" })).toBeVisible();
  const { photo } = await page.evaluate(async () => {
    const token = sessionStorage.getItem("gangline.token");
    return (await fetch("api/user/info", { headers: { Authorization: `Bearer ${token}` } })).json();
  });
  await page.route(new URL(photo, server.origin).href, (route) => route.fulfill({ status: 500 }));
  await page.reload();
  await expect(page.getByRole("alert")).toHaveText(/The dispatcher answered 500/);
  await page.route("**/api/task/machine/*", (route) => route.fulfill({ body: "[" }));
  await page.goto("/#/machines/lena");
  await expect(page.getByRole("main").getByText(/JSON/)).toBeVisible();
});

test("the frames are shown without secrets, and what is typed is answered", async ({ page, server }) => {
  await server.user("ada", PASSWORD);
  await signIn(page, "ada", PASSWORD);
  await isIn(page);
  await page.goto("/#/frames");
  const frame = page.getByLabel("Frame", { exact: true });
  await frame.fill(`{"type":"auth","id":"mine","data":{"account":"ada","password":"${PASSWORD}"}}`);
  await frame.press("Control+Enter");
  await expect(page.getByText("Answer", { exact: true })).toBeVisible();
  const rows = page.getByRole("cell").getByRole("button");
  for (const row of await rows.all()) {
    await row.click();
    const shown = (await page.locator("code").allInnerTexts()).join();
    expect(shown).not.toMatch(/eyJ|correct horse/);
  }
  await frame.fill(`{"type":"job","data":{"opt":"dance"}}`);
  await frame.press("Control+Enter");
  await expect(page.getByText("Refused", { exact: true })).toBeVisible();
  await frame.fill(`{"type":`);
  await frame.press("Control+Enter");
  await expect(frame).toHaveAttribute("aria-invalid", "true");
});

test("everything is reached by keys", async ({ page, admin }) => {
  const job = await admin.submit("true", { name: "needle in the haystack" });
  await visit(page, admin.token, "/");
  await isIn(page);
  await page.keyboard.press("g");
  await page.keyboard.press("m");
  await expect(page).toHaveURL(/#\/machines$/);
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keys" })).toBeVisible();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+k");
  await page.keyboard.type("needle");
  await expect(page.getByRole("option", { name: /needle in the haystack/ })).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/#\/jobs\/\d+$/);
  await admin.output(job);
  await page.keyboard.press("Control+k");
  await page.keyboard.type("theme dark");
  await page.keyboard.press("Enter");
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await page.keyboard.press("n");
  await expect(page.getByRole("heading", { name: "New job" })).toBeVisible();
});
