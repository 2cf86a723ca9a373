// The dispatcher is away: what was true when it was last heard is not shown as if it were true now.
import { Server } from "./support/server";
import { expect, test, visit, withhold, type Locator, type Page } from "./support/story";
import { rows } from "./support/terminal";

/** What may be out of date is greyed: all of it that is found. */
async function allStale(page: Page, selector: string): Promise<void> {
  const found = page.locator(selector);
  await expect(found.first()).toBeVisible();
  const live = () =>
    found.evaluateAll((elements) =>
      elements.filter((element) => !element.closest(".stale")).map((element) => element.outerHTML),
    );
  await expect.poll(live).toEqual([]);
}

/** How many seconds ago something was, as the page says it; whole minutes after the first. */
async function age(shown: Locator): Promise<number> {
  const text = (await shown.innerText()).trim();
  if (text === "now") return 0;
  const [, count, unit] = /^(\d+)([sm]) ago$/.exec(text) ?? [];
  if (!count) throw new Error(`no age: ${text}`);
  return Number(count) * (unit === "m" ? 60 : 1);
}

/** Lets 40 seconds go by, and waits until an age has become that much more. */
async function fortySecondsLater(page: Page, shown: Locator): Promise<void> {
  const before = await age(shown);
  await page.clock.fastForward(40_000);
  await expect.poll(() => age(shown)).toBeGreaterThanOrEqual(Math.min(before + 40, 60));
}

test("a job's page stands still while the dispatcher is away", async ({ page, server, admin }) => {
  const job = await admin.submit("echo begun; exec sleep 600");
  await page.clock.install();
  await visit(page, server.adminToken, `/jobs/${job}`);
  const badge = page.getByText("running", { exact: true });
  await expect(badge).toBeVisible();
  const ran = page.getByText(/^on lena, for /);
  const runs = page.getByText(/^runs for /);
  await expect(ran).toBeVisible();
  await server.kill();
  await expect(page.getByText(/Reconnecting/)).toBeVisible();
  const before = [await ran.textContent(), await runs.textContent()];
  await fortySecondsLater(page, page.getByText(/^submitted /).locator("time"));
  expect([await ran.textContent(), await runs.textContent()]).toEqual(before);
  await allStale(page, "main .text-running, main .bg-running");
  await expect(badge.locator("span")).toHaveCSS("animation-name", "none");

  await server.start();
  await expect(page.getByText("Live", { exact: true })).toBeVisible();
  await expect(page.locator("main .stale")).toHaveCount(0);
});

test("whether a job has left files is not said while nobody can know", async ({ page, server, admin }) => {
  const job = await admin.submit("exec sleep 600");
  await visit(page, server.adminToken, `/jobs/${job}?tab=artifacts`);
  const files = page.getByRole("tabpanel");
  await expect(files).toContainText("They come when the job ends.");
  await server.kill();
  await expect(files).toContainText("Whether it has is not known while the connection is away.");
  await server.start();
  await expect(files).not.toContainText("not known");
});

test("how long jobs have run stands still in the list, too", async ({ page, server, admin }) => {
  await admin.submit("exec sleep 600", { name: "runs" });
  await page.clock.install();
  await visit(page, server.adminToken, "/jobs");
  const took = page.getByRole("row").filter({ hasText: "runs" }).getByRole("cell").last();
  await expect(took).toHaveText(/\ds$|\d ms$|\d s$/);
  await server.kill();
  await expect(page.getByText(/Reconnecting/)).toBeVisible();
  const before = await took.textContent();
  await fortySecondsLater(page, page.getByRole("row").filter({ hasText: "runs" }).locator("time"));
  expect(await took.textContent()).toBe(before);
});

/** What is greyed on each page: numbers, states, and that there is nothing. */
const SHOWN: Record<string, string> = {
  "/": "main .number, main .caption",
  "/machines": "main [role=table], main [role=group] .number",
  "/machines/lena": "main .number, main .rounded-full",
  "/containers": "main [role=group] .number, main :text('There are no containers.')",
  "/account": "main :text('Nobody is signed in with a password'), main :text('No API tokens'), main table",
  "/admin/users": "main table",
  "/admin/sessions": "main :text('Nobody is signed in with a password')",
  "/admin/tokens": "main table",
  "/admin/plugins": "main :text('No plugins')",
  "/admin/audit": "main :text('Nothing is written down')",
};

for (const [place, shown] of Object.entries(SHOWN)) {
  test(`what ${place} shows is greyed while the dispatcher is away`, async ({ page, server, admin }) => {
    await admin.submit("exec sleep 600", { name: "runs" });
    await visit(page, server.adminToken, place);
    await expect(page.locator(shown).first()).toBeVisible();
    await expect(page.locator("main .stale")).toHaveCount(0);
    await server.kill();
    await expect(page.getByText(/Reconnecting/)).toBeVisible();
    await allStale(page, shown);
  });
}

test("pages that were never gone to are there while the dispatcher is away", async ({ page, server }) => {
  const came = new Set<string>();
  page.on("requestfinished", (request) => came.add(new URL(request.url()).pathname.replace(/^.*\/(\w+)-.*$/, "$1")));
  await visit(page, server.adminToken, "/");
  for (const name of ["Jobs", "Job", "Machine", "Admin", "Frames"]) await expect.poll(() => [...came]).toContain(name);
  expect([...came]).not.toContain("Terminal");
  await server.kill();
  await expect(page.getByText(/Reconnecting/)).toBeVisible();
  for (const name of ["Jobs", "Machines", "Frames"]) {
    await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name }).click();
    await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
  }
});

test("a page that could not come does so with the connection", async ({ page, server, admin }) => {
  const job = await admin.submit("echo begun; exec sleep 600");
  await page.clock.install();
  // They do not come when there is time to fetch them, either.
  await page.route(/\/(Job|Machines|Terminal)-/, (route) => route.abort());
  await visit(page, server.adminToken, "/jobs");
  await expect(page.getByRole("link", { name: "echo begun" })).toBeVisible();
  await server.kill();
  await expect(page.getByText(/Reconnecting/)).toBeVisible();
  for (const place of ["machines", `jobs/${job}`]) {
    await page.evaluate((place) => (location.hash = `#/${place}`), place);
    await expect(page.getByRole("heading", { level: 1, name: "Not here yet" })).toBeVisible();
  }
  await page.unroute(/\/(Job|Machines|Terminal)-/);
  await page.route(/\/Terminal-/, (route) => route.abort());
  await server.start();
  await expect(page.getByRole("heading", { level: 1, name: "echo begun" })).toBeVisible();
  // The terminal did not come, either, though the dispatcher was there; with the next connection it does.
  await expect(page.getByText("The terminal could not be loaded.")).toBeVisible();
  await server.kill();
  await expect(page.getByText("The terminal comes with the connection.")).toBeVisible();
  await page.unroute(/\/Terminal-/);
  await server.start();
  await expect(rows(page)).toContainText("begun");
  await expect(page.locator(".xterm-screen")).toHaveCSS("position", "relative");
});

test("the overview counts nothing before it was told", async ({ page, server }) => {
  // Everything comes but the first list of machines, until it may.
  const answer = await withhold(page, /"opt":"workers"/);
  await visit(page, server.adminToken, "/");
  const figures = page.getByRole("main");
  await expect(figures).toContainText(/Waiting\s*0/);
  await expect(figures).toContainText(/Machines\s*–\s*of – connected/);
  answer.letGo();
  await expect(figures).toContainText(/Machines\s*1\s*of 1 connected/);
});

test("what changes while it is asked for is shown as it is now", async ({ page, server, admin }) => {
  const answers = await withhold(page, /"opt":"(job|workers)"/);
  const job = await admin.submit("read go", { stdin: true });
  await expect.poll(async () => (await admin.ask("job", { opt: "get", jobId: job })).job.status).toBe("running");
  await visit(page, server.adminToken, `/jobs/${job}`);
  await answers.said(/"opt":"job"/);
  await admin.ask("job", { opt: "input", jobId: job, text: "go\n" });
  await answers.said(/"opt":"status".*"completed"/);
  // A machine that is not in the list that is on its way.
  const other = await page.context().newPage();
  const list = await withhold(other, /"opt":"workers"/);
  await visit(other, server.adminToken, "/machines");
  await list.said(/"opt":"workers"/);
  await server.worker("mila");
  await list.said(/"opt":"status".*"mila"/);
  answers.letGo();
  list.letGo();
  await expect(page.getByText("completed", { exact: true })).toBeVisible();
  await expect(other.getByRole("row").filter({ hasText: "lena" })).toBeVisible();
  await expect(other.getByRole("row").filter({ hasText: "mila" })).toBeVisible();
});

const hasty = test.extend({
  // A machine that is not heard of is soon missed.
  server: async ({}, use) => {
    const server = new Server("--lease", "3s", "--heartbeat", "1s");
    await server.start();
    await server.worker("lena", "--gpus", "2");
    await use(server);
    await server.end();
  },
});

hasty("nothing is free on a machine that is not there", async ({ page, server }) => {
  await visit(page, server.adminToken, "/machines/lena");
  const main = page.getByRole("main");
  await expect(main).toContainText("2 of 2 free");
  await server.killWorker("lena");
  await expect(main).toContainText("0 of 2 free");
  await expect(main.getByText("free", { exact: true })).toHaveCount(0);
  await page.goto("/#/machines");
  await expect(page.getByRole("row").filter({ hasText: "lena" })).toContainText(/0 of 2\s*free/);
});
