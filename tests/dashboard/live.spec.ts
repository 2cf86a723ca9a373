// A job's output while it is written: soon, whole, and never in the way.
import { eventually } from "./support/server";
import { expect, figures, mb, test, visit } from "./support/story";
import { rows, wholeText } from "./support/terminal";

/** How long after it is written a line may be seen, for 95 of 100 lines. */
const SEEN_WITHIN_MS = 100;
/** How long a key or a click may wait until the page looks at it. */
const INPUT_DELAY_MS = 100;
/** What the page's objects may take. */
const HEAP_BYTES = 200e6;

test("what a job writes is seen within 100 ms", async ({ page, server, admin }) => {
  // Each line is the time at which it is written, by the clock that the page reads, too.
  const job = await admin.submit("read go; i=0; while [ $i -lt 300 ]; do date +%s%3N; sleep 0.02; i=$((i+1)); done", {
    stdin: true,
  });
  await visit(page, server.adminToken, `/jobs/${job}`);
  await expect(rows(page)).toBeVisible();
  const delays = page.evaluate(
    (count) =>
      new Promise<number[]>((resolve) => {
        const seen = new Map<number, number>();
        const look = () => {
          const now = Date.now();
          for (const [, time] of document.querySelector(".xterm-rows")!.textContent!.matchAll(/(1\d{12})/g)) {
            if (!seen.has(Number(time))) seen.set(Number(time), now - Number(time));
          }
          if (seen.size >= count) resolve([...seen.values()]);
        };
        // Seen is what is in the next frame.
        new MutationObserver(() => requestAnimationFrame(look)).observe(document.querySelector(".xterm-screen")!, {
          subtree: true,
          childList: true,
          characterData: true,
        });
      }),
    250,
  );
  await admin.ask("job", { opt: "input", jobId: job, text: "go\n" });
  const sorted = (await delays).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(sorted.length * share)]!;
  figures(
    `a line is seen after ${at(0.5)} ms (median), ${at(0.95)} ms (p95), ${sorted.at(-1)} ms (most), of ${sorted.length}`,
  );
  expect(at(0.95)).toBeLessThan(SEEN_WITHIN_MS);
});

test("a million lines leave the page quick and small", async ({ page, server, admin }) => {
  test.setTimeout(180_000);
  const job = await admin.submit("read go; seq -f 'line %.0f: the quick brown fox jumps over the lazy dog' 1000000", {
    stdin: true,
  });
  await page.addInitScript(() => {
    const delays: number[] = [];
    Object.assign(window, { delays });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as PerformanceEventTiming[])
        delays.push(entry.processingStart - entry.startTime);
    }).observe({
      type: "event",
      durationThreshold: 16,
      buffered: true,
    } as PerformanceObserverInit);
  });
  const browser = await page.context().newCDPSession(page);
  await browser.send("Performance.enable");
  const heap = async () => {
    const { metrics } = await browser.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "JSHeapUsedSize")?.value ?? Infinity;
  };

  await visit(page, server.adminToken, `/jobs/${job}`);
  await expect(rows(page)).toBeVisible();
  await admin.ask("job", { opt: "input", jobId: job, text: "go\n" });
  await expect(rows(page)).toContainText("quick brown fox");
  let most = 0;
  let pressed = 0;
  const completed = page.getByText("completed", { exact: true });
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await page.getByRole("button", { name: /^Follow/ }).click();
  // Somebody who does things all the while: scrolls, searches, asks for a command.
  for (const text of ["fox", "line 9", "lazy dog"]) {
    for (let round = 0; round < 5; round++, pressed += text.length + 5) {
      await page.getByRole("button", { name: /^Search/ }).click();
      await expect(page.getByRole("textbox", { name: "Search the output" })).toBeFocused();
      await page.keyboard.type(text);
      await page.keyboard.press("Enter");
      await page.keyboard.press("Escape");
      await page.keyboard.press("Control+K");
      await expect(page.getByRole("dialog")).toBeVisible();
      await page.keyboard.press("Escape");
      await page.mouse.wheel(0, -200);
      most = Math.max(most, await heap());
    }
  }
  await page.getByRole("button", { name: "To the end" }).click();
  await expect(completed).toBeVisible({ timeout: 120_000 });
  most = Math.max(most, await heap());
  await expect(rows(page)).toContainText("line 1000000:");
  const delays: number[] = await page.evaluate(() => Reflect.get(window, "delays"));
  await browser.send("HeapProfiler.collectGarbage");
  const after = await heap();
  const slowest = Math.max(0, ...delays);
  figures(
    `${pressed} keys and clicks waited ${slowest.toFixed(0)} ms at the most; heap ${mb(most)} at the most, ${mb(after)} after`,
  );
  expect(slowest).toBeLessThan(INPUT_DELAY_MS);
  expect(most).toBeLessThan(HEAP_BYTES);
  expect(after).toBeLessThan(HEAP_BYTES);
});

test("the dispatcher is killed and comes back, and the terminal has what the program wrote", async ({
  page,
  server,
  admin,
}) => {
  // The second half waits to be asked for, so that there is something to interrupt twice however slow this machine is.
  const script = `i=0; while [ $i -lt 2000 ]; do
      [ $i -ne 1000 ] || read go
      i=$((i+1)); echo "line $i: größer, 漢字, 🚀, \\033[1;31mred\\033[0m, $((i*i))"
      [ $((i % 20)) -gt 0 ] || sleep 0.05
    done; printf '%0300d\\n' 7; printf 'no line at the end'`;
  const line = (i: number) => `line ${i}: größer, 漢字, 🚀, red, ${i * i}`;
  const written = Array.from({ length: 2000 }, (_, i) => line(i + 1));
  written.push("7".padStart(300, "0"), "no line at the end");
  const job = await admin.submit(script, { stdin: true });
  await visit(page, server.adminToken, `/jobs/${job}`);
  const seen = async () =>
    Math.max(0, ...[...(await rows(page).innerText()).matchAll(/line (\d+):/g)].map(([, i]) => Number(i)));
  for (const from of [100, 1100]) {
    await expect.poll(seen).toBeGreaterThan(from);
    await server.kill();
    await expect(page.getByText(/Reconnecting/)).toBeVisible();
    await server.start();
    await expect(page.getByText("Live", { exact: true })).toBeVisible();
    if (from > 1000) break;
    const again = await server.admin();
    // Refused until its worker is back, too.
    await eventually(
      "the job to go on",
      async () => !!(await again.ask("job", { opt: "input", jobId: job, text: "go\n" })),
    );
  }
  await expect(rows(page)).toContainText("no line at the end");
  await expect(page.getByText("completed", { exact: true })).toBeVisible();
  expect((await wholeText(page)).trimEnd().split("\n")).toEqual(written);
});
