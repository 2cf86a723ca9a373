// Signing in: with a password, with a token, wrongly; and what is left of it.
import { expect, signIn, test } from "./support/story";

test("a password opens the dashboard, and only the right one", async ({ page, server }) => {
  await server.user("ada", "correct horse battery");
  await signIn(page, "ada", "wrong horse battery");
  await expect(page.getByRole("alert")).toBeVisible();
  await signIn(page, "ada", "correct horse battery");
  await expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();
  await expect(page.getByRole("link", { name: "Administration" })).toHaveCount(0);
});

test("a token opens it, stays out of the address, and is gone with the tab", async ({ page, context, server }) => {
  await page.goto("/");
  await page.getByRole("button", { name: "Token" }).click();
  await page.getByLabel("Token", { exact: true }).fill(server.adminToken);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("link", { name: "Administration" })).toBeVisible();
  expect(page.url()).not.toContain(server.adminToken);
  expect(server.words("dispatcher")).not.toContain(server.adminToken);

  await page.reload();
  await expect(page.getByRole("link", { name: "Administration" })).toBeVisible();
  const other = await context.newPage();
  await other.goto("/");
  await expect(other.getByRole("button", { name: "Sign in" })).toBeVisible();
});

for (const role of ["worker", "plugin"]) {
  test(`a ${role}'s token is told what it is for, and opens nothing`, async ({ page, admin }) => {
    const { token } = await admin.ask("auth", { opt: "tokenCreate", role });
    await page.goto("/");
    await page.getByRole("button", { name: "Token" }).click();
    await page.getByLabel("Token", { exact: true }).fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.getByRole("alert")).toHaveText(
      `This token connects a ${role}: sign in here with a token of role user or admin, or with a password.`,
    );
    await expect(page.getByRole("navigation", { name: "Main" })).toHaveCount(0);
    await page.reload();
    await expect(page.getByRole("button", { name: "Sign in" }), "it was not kept").toBeVisible();
    await page.getByRole("button", { name: "Token" }).click();
    await page.getByLabel("Token", { exact: true }).fill(admin.token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();
  });
}

test("who asks to stay signed in is so in another tab", async ({ page, context, server }) => {
  await page.goto("/");
  await page.getByRole("button", { name: "Token" }).click();
  await page.getByLabel("Token", { exact: true }).fill(server.adminToken);
  await page.getByLabel("Stay signed in on this device").check();
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();
  const other = await context.newPage();
  await other.goto("/#/jobs");
  await expect(other.getByRole("navigation", { name: "Main" })).toBeVisible();
});

test("a token that is revoked ends what it opened", async ({ page, admin }) => {
  await admin.ask("auth", { opt: "userAdd", account: "ada" });
  const { token, record } = await admin.ask("auth", {
    opt: "tokenCreate",
    role: "user",
    account: "ada",
  });
  await page.goto("/");
  await page.getByRole("button", { name: "Token" }).click();
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();
  await admin.ask("auth", { opt: "tokenRevoke", token: record.id });
  await expect(page.getByRole("button", { name: "Sign in" })).toBeVisible();
});
