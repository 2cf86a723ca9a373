// Two people on one dispatcher: neither learns of the other's jobs, in whatever way they look.
import { expect, test, visit } from "./support/story";

test("nobody sees another's jobs: not in lists, not by address, not by the palette, not on the wire", async ({
  page,
  server,
}) => {
  const ada = await server.user("ada", "correct horse battery");
  const job = await ada.submit("echo the-secret-of-ada", {
    name: "secret-of-ada",
    tags: ["secret-of-ada"],
  });
  await ada.output(job);
  const grace = await server.user("grace", "battery staple horse");
  const heard: string[] = [];
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => heard.push(String(payload))));

  await visit(page, grace.token, "/");
  for (const place of ["/", "/jobs", "/jobs?account=ada", `/jobs/${job}`, "/machines", "/jobs/1"]) {
    await page.goto(`/#${place}`);
    await expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();
    await expect(page.getByRole("main")).not.toBeEmpty();
    await expect(page.getByText("secret-of-ada")).toHaveCount(0);
  }
  await expect(page.getByRole("main")).toContainText(/no such job/i);
  await page.keyboard.press("Control+K");
  await page.keyboard.type("secret-of-ada");
  await expect(page.getByRole("dialog")).toBeVisible();
  await expect(page.getByRole("dialog").getByRole("option", { name: /secret-of-ada/ })).toHaveCount(0);
  expect(heard.length).toBeGreaterThan(2);
  expect(heard.filter((frame) => frame.includes("secret-of-ada") || frame.includes(job))).toEqual([]);
  ada.close();
  grace.close();
});
