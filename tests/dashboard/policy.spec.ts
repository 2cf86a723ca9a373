// What the page's policy keeps from happening. That no page needs what it forbids, every story watches.
import { expect, test, visit } from "./support/story";

test("the policy lets nothing run, load or leave that is not the page's own", async ({ page, server, misdeeds }) => {
  await visit(page, server.adminToken, "/");
  await expect(page.getByRole("navigation", { name: "Main" })).toBeVisible();
  const written = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.written = true";
    const handler = document.createElement("div");
    handler.setAttribute("onclick", "window.written = true");
    document.body.append(script, handler);
    handler.click();
    return "written" in window;
  });
  expect(written).toBe(false);
  const left = await page.evaluate(async () => {
    const ways = [
      () => fetch("http://127.0.0.1:9/"),
      () =>
        new Promise((resolve, reject) => {
          const socket = new WebSocket("ws://127.0.0.1:9/");
          socket.onopen = resolve;
          socket.onerror = reject;
        }),
      () =>
        new Promise((resolve, reject) => {
          const image = new Image();
          image.onload = resolve;
          image.onerror = reject;
          image.src = "http://127.0.0.1:9/image.png";
        }),
    ];
    const outcomes = await Promise.allSettled(ways.map((way) => way()));
    return outcomes.filter(({ status }) => status === "fulfilled").length;
  });
  expect(left).toBe(0);
  const seen = misdeeds.splice(0).join("\n");
  for (const directive of ["inline script", "inline event handler", "connect-src", "img-src"])
    expect(seen).toContain(directive);
});
