// The window of a long log: up to its beginning, to a line that somebody else is shown, and to what went wrong.
import { expect, test, visit, type Page } from "./support/story";
import { rows } from "./support/terminal";

/** Lines with their numbers, and what went wrong in one of them. */
const LONG = "seq -f 'line %.0f' 150000; echo 'error: out of luck'; seq -f 'line %.0f' 150001 300000";

/** From now on: the numbers of the lines at the top, whenever something else is drawn. */
async function tops(page: Page): Promise<() => Promise<number[]>> {
  await page.evaluate(() => {
    const tops: number[] = ((window as { tops?: number[] }).tops = []);
    const look = () => {
      const rows = [...document.querySelectorAll(".xterm-rows")].at(-1);
      tops.push(Number(/\d+/.exec(rows?.firstElementChild?.textContent ?? "")?.[0]));
    };
    look();
    new MutationObserver(look).observe(document.querySelector(".xterm-screen")!, { childList: true, subtree: true });
  });
  return () => page.evaluate(() => (window as { tops?: number[] }).tops ?? []);
}

const top = (page: Page) => rows(page).locator("> div").first();

test("one scrolls up from the end without a hole, and comes to the beginning and back", async ({
  page,
  server,
  admin,
}) => {
  // Long pages: fewer keys to the beginning of what the terminal holds.
  await page.setViewportSize({ width: 1280, height: 2000 });
  const job = await admin.submit(LONG);
  await admin.output(job);
  await visit(page, server.adminToken, `/jobs/${job}`);
  await expect(rows(page)).toContainText("line 300000");
  await page.getByRole("textbox", { name: /^Output of job/ }).focus();
  const numbers = async () => [...(await rows(page).innerText()).matchAll(/line (\d+)/g)].map(([, n]) => Number(n));
  const isWhole = (seen: number[]) => expect(seen).toEqual(seen.map((_, k) => seen[0]! + k));
  let before = await numbers();
  isWhole(before);
  const from = before[0]!;
  const drawn = await tops(page);
  // Further than the terminal holds.
  while (from - before[0]! < 12_000) {
    // At the top a key does nothing until what is older is there.
    await expect(page.getByRole("button", { name: "Older output" })).toHaveCount(0);
    await page.keyboard.press("PageUp");
    let seen = before;
    await expect.poll(async () => (seen = await numbers())[0]).toBeLessThan(before[0]!);
    isWhole(seen);
    // By a page each time, and never elsewhere.
    expect(seen.at(-1)).toBeGreaterThanOrEqual(before[0]!);
    before = seen;
  }
  // Nor was anything else seen for a moment.
  const seen = await drawn();
  const isNext = (line: number, k: number) => k === 0 || (line <= seen[k - 1]! && line > seen[k - 1]! - before.length);
  expect(seen.filter((line, k) => !isNext(line, k))).toEqual([]);
  await page.keyboard.press("Home");
  await expect(top(page)).toHaveText("line 1");
  await page.keyboard.press("End");
  await expect(rows(page)).toContainText("line 300000");
});

test("a line is shared by its address, and the first error is found", async ({ page, server, admin }) => {
  const job = await admin.submit(LONG);
  await admin.output(job);
  await visit(page, server.adminToken, `/jobs/${job}`);
  await page.getByRole("button", { name: "First error" }).click();
  await expect(rows(page)).toContainText("error: out of luck");
  await expect(page).toHaveURL(/\?at=1-\d+(\.\d+)?$/);
  const other = await page.context().newPage();
  await visit(other, server.adminToken, new URL(page.url()).hash.slice(1));
  await expect(rows(other)).toContainText("error: out of luck");
  await expect(other.locator(".xterm-decoration")).toHaveCount(1);
});

test("a link to another line is gone to on the page that is open, and what was put there oneself is not", async ({
  page,
  server,
  admin,
}) => {
  const job = await admin.submit(LONG);
  await admin.output(job);
  await visit(page, server.adminToken, `/jobs/${job}`);
  await expect(rows(page)).toContainText("line 300000");
  const { entries } = await admin.ask("job", { opt: "read", jobId: job, after: "0", maxBytes: 4096 });
  const { at } = entries.find(({ opt }: { opt: string }) => opt === "output");
  const goTo = (line: number) => page.evaluate((place) => (location.hash = place), `#/jobs/${job}?at=${at}.${line}`);
  for (const line of [99, 300]) {
    await goTo(line);
    await expect(rows(page).getByText(`line ${line + 1}`, { exact: true })).toBeVisible();
    await expect(page.locator(".xterm-decoration")).toHaveCount(1);
  }
  // A link to the line at the top leaves it there.
  const first = await top(page).textContent();
  await page.context().grantPermissions(["clipboard-write"]);
  await page.getByRole("button", { name: "Copy a link to this line" }).click();
  await expect(page.getByText("Copied a link to this line.")).toBeVisible();
  await expect(page).not.toHaveURL(/\.300$/);
  await expect(top(page)).toHaveText(first ?? "");
});

test("what is older than the terminal holds is searched by the dispatcher", async ({ page, server, admin }) => {
  const job = await admin.submit(LONG);
  await admin.output(job);
  await visit(page, server.adminToken, `/jobs/${job}`);
  await expect(rows(page)).toContainText("line 300000");
  await page.getByRole("button", { name: "Search (Ctrl F)" }).click();
  await page.getByRole("textbox", { name: "Search the output" }).fill("line 77777");
  await expect(page.getByText("Not in sight")).toBeVisible();
  await page.getByRole("button", { name: "Search older output" }).click();
  await expect(rows(page)).toContainText("line 77777");
});

test("what is paused stands still, and goes on where one follows again", async ({ page, server, admin }) => {
  const job = await admin.submit("while read n; do seq -f 'line %.0f' $n; echo done $n; done", { stdin: true });
  const type = (text: string) => admin.ask("job", { opt: "input", jobId: job, text });
  await visit(page, server.adminToken, `/jobs/${job}`);
  await expect(page.getByText("running", { exact: true })).toBeVisible();
  await type("100\n");
  await expect(rows(page)).toContainText("done 100");
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await type("200\n");
  await expect(page.getByText("New output below")).toBeVisible();
  await expect(rows(page)).not.toContainText("done 200");
  await page.getByRole("button", { name: "Follow", exact: true }).click();
  await expect(rows(page)).toContainText("done 200");
});
