// The list of jobs and a job's page, as somebody works with them.
import { expect, test, visit } from "./support/story";
import { rows } from "./support/terminal";

/** Waits for a worker that is not there. */
const NOWHERE = { requires: { labels: { place: "nowhere" } } };

test("a thousand jobs are scrolled through, and new ones do not move what one looks at", async ({
  page,
  server,
  admin,
}) => {
  for (let i = 0; i < 1000; i++) await admin.submit("true", { name: `old ${i}`, ...NOWHERE });
  await visit(page, server.adminToken, "/jobs");
  const list = page.getByRole("table", { name: "Jobs, newest first" });
  await expect(list.getByRole("link", { name: "old 999" })).toBeVisible();
  // More comes when one is near the end of what has come.
  const oldest = list.getByRole("link", { name: "old 0", exact: true });
  const scrolledToOldest = async () => {
    await list.evaluate((element) => (element.scrollTop = element.scrollHeight));
    return oldest.isVisible();
  };
  await expect.poll(scrolledToOldest).toBe(true);
  await list.evaluate((element) => (element.scrollTop = 4000));
  const seen = list.getByRole("link", { name: "old 895" });
  const before = await seen.boundingBox();
  for (let i = 0; i < 50; i++) await admin.submit("true", { name: `new ${i}`, ...NOWHERE });
  await expect(page.getByRole("main")).toContainText("1,050");
  await expect.poll(async () => (await seen.boundingBox())?.y).toBe(before?.y);
  await list.evaluate((element) => (element.scrollTop = 0));
  await expect(list.getByRole("link", { name: "new 49" })).toBeVisible();
});

test("who scrolls in the moment in which a new job comes gets there", async ({ page, server, admin }) => {
  for (let i = 0; i < 100; i++) await admin.submit("true", { name: `old ${i}`, ...NOWHERE });
  await page.addInitScript(() => {
    // Hears that there is a new job before the page does.
    window.WebSocket = class extends WebSocket {
      constructor(address: string | URL, protocols?: string | string[]) {
        super(address, protocols);
        this.addEventListener("message", ({ data }) => {
          const list = document.querySelector("[data-scroll]");
          if (list && /"opt":"jobs".*"name":"new"/.test(String(data)))
            list.scrollTop = Number(list.getAttribute("data-scroll"));
        });
      }
    };
  });
  await visit(page, server.adminToken, "/jobs");
  const list = page.getByRole("table", { name: "Jobs, newest first" });
  await expect(list.getByRole("link", { name: "old 99", exact: true })).toBeVisible();
  await list.evaluate((element) => (element.scrollTop = 1000));
  const top = () => list.evaluate((element) => element.scrollTop);
  await expect(list.getByRole("link", { name: "old 79", exact: true })).toBeVisible();
  await list.evaluate((element) => element.setAttribute("data-scroll", "2000"));
  await admin.submit("true", { name: "new", ...NOWHERE });
  // By a row further, so that the same ones are seen.
  await expect.poll(top).toBeGreaterThan(2000);
  expect(await top()).toBeLessThan(2100);
});

test("jobs are filtered by what stands in the address, and found by keys alone", async ({ page, server, admin }) => {
  for (const name of ["train", "nightly", "train again"])
    await admin.submit("true", { name, tags: [name], ...NOWHERE });
  await visit(page, server.adminToken, "/jobs?status=pending&text=TRAIN");
  const list = page.getByRole("table", { name: "Jobs, newest first" });
  const names = list.getByRole("link");
  await expect(names).toHaveText(["train again", "train"]);
  await page.getByPlaceholder("Any tag").fill("train");
  await expect(names).toHaveText(["train"]);
  await expect(page).toHaveURL(/status=pending&text=TRAIN&tag=train$/);
  await page.getByRole("button", { name: "Clear filters" }).click();
  await expect(names).toHaveText(["train again", "nightly", "train"]);
  await list.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await expect(names.nth(1)).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "nightly" })).toBeVisible();
});

test("a status is shown as it changes, and those that are chosen are cancelled", async ({ page, server, admin }) => {
  await admin.submit("read go", { name: "runs", stdin: true });
  await admin.submit("true", { name: "waits", ...NOWHERE });
  await visit(page, server.adminToken, "/jobs");
  const row = (name: string) => page.getByRole("row").filter({ hasText: name });
  await expect(row("runs")).toContainText("running");
  await expect(row("waits")).toContainText("pending");
  for (const name of ["runs", "waits"]) await row(name).getByRole("checkbox").check();
  await page.getByRole("button", { name: "Cancel 2 selected" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel 2 jobs" }).click();
  for (const name of ["runs", "waits"]) await expect(row(name)).toContainText("cancelled");
});

test("a job reads a line that is typed, ends with its input, and runs again", async ({ page, server, admin }) => {
  const job = await admin.submit("read name; echo hello $name; cat; echo over", { name: "asks", stdin: true });
  await visit(page, server.adminToken, `/jobs/${job}`);
  await page.getByLabel("Input").fill("ada");
  await page.keyboard.press("Enter");
  await expect(rows(page)).toContainText("hello ada");
  await page.getByRole("button", { name: "End input" }).click();
  await expect(rows(page)).toContainText("over");
  await expect(page.getByText("exit code 0").first()).toBeVisible();
  await page.getByRole("button", { name: "Rerun", exact: true }).click();
  await expect(page).not.toHaveURL(new RegExp(job));
  await expect(page.getByText("running", { exact: true })).toBeVisible();
});

test("a shell is typed into, and is told the size of the terminal", async ({ page, server, admin }) => {
  const job = await admin.submit("exec sh", { tty: true });
  await visit(page, server.adminToken, `/jobs/${job}`);
  const typed = page.getByRole("textbox", { name: /^Output of job/ });
  await typed.focus();
  await expect(rows(page)).toContainText("#");
  await page.keyboard.type("echo $((6*7)) $(stty size)\n");
  await expect(rows(page)).toContainText(/42 \d+ \d+/);
  await page.setViewportSize({ width: 800, height: 600 });
  await typed.focus();
  await page.keyboard.type("clear; stty size\n");
  await expect(rows(page)).toContainText(/\b\d+ [5-8]\d\b/);
});

test("what a program asked its terminal before one looked is not answered now", async ({ page, server, admin }) => {
  const job = await admin.submit(
    "stty -echo -icanon; printf 'asked\\033[6n\\n'; first=$(head -c 1 | od -An -c); echo \"heard $first\"; sleep 60",
    { tty: true },
  );
  const written = async () => (await admin.ask("job", { opt: "read", jobId: job })).entries as { text?: string }[];
  await expect.poll(async () => (await written()).map(({ text }) => text).join("")).toContain("asked");
  await visit(page, server.adminToken, `/jobs/${job}`);
  await expect(rows(page)).toContainText("asked");
  await page.getByRole("textbox", { name: /Output of job/ }).focus();
  await page.keyboard.press("x");
  await expect(rows(page)).toContainText(/heard\s+x/);
});
