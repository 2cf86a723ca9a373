// Submitting: the form makes the job that it shows, in three ways that are the same.
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { promisify } from "node:util";
import type { Locator } from "@playwright/test";
import { GANGLINE } from "./support/server";
import { expect, test, visit, type Page } from "./support/story";

const run = promisify(execFile);

/** The number of the job whose page is open. */
async function jobNumber(page: Page): Promise<string> {
  await page.waitForURL(/#\/jobs\/\d+/);
  return /jobs\/(\d+)/.exec(page.url())?.[1] ?? "";
}

/** The same job on the command line, and as a frame. */
async function sameElsewhere(page: Page): Promise<{ line: string; frame: { data: Record<string, unknown> } }> {
  const [line, frame] = await page.getByRole("complementary").locator("code").allTextContents();
  return { line: line ?? "", frame: JSON.parse(frame ?? "{}") };
}

test("a folder's files and a script become a job, which fills the form again", async ({ page, admin }, info) => {
  const folder = info.outputPath("project");
  mkdirSync(`${folder}/src`, { recursive: true });
  writeFileSync(`${folder}/main.sh`, "echo from-the-zip\n");
  writeFileSync(`${folder}/src/data`, Buffer.alloc(10_000_000, "not much in it "));
  await visit(page, admin.token, "/submit");
  await page.getByLabel("Command").fill("sh main.sh; wc -c < src/data; echo $GREETING");
  await page.locator("input[type=file][webkitdirectory]").setInputFiles(folder);
  await expect(page.getByText("project.zip").first()).toBeVisible();
  await page.getByRole("button", { name: "Add variable" }).click();
  await page.getByLabel("Name of variable 1").fill("GREETING");
  await page.getByLabel("Value of variable 1").fill("hello there");
  await page.getByLabel("Command").press("Control+Enter");
  const number = await jobNumber(page);
  const { job } = await admin.ask("job", { opt: "get", jobId: number });
  expect(await admin.output(job.jobId)).toBe("from-the-zip\n10000000\nhello there\n");

  await page.goto(`/#/submit?from=${number}`);
  await expect(page.getByLabel("Command")).toHaveValue("sh main.sh; wc -c < src/data; echo $GREETING");
  await page.getByLabel("Command").fill("sh main.sh");
  await page.getByRole("button", { name: "Submit job" }).click();
  await expect.poll(() => page.url()).not.toContain("submit");
  const again = await admin.ask("job", { opt: "get", jobId: await jobNumber(page) });
  expect(again.job.spec).toEqual({ ...job.spec, command: "sh main.sh" });
});

test("files dropped anywhere on the form come along, wherever they were dragged from", async ({ page, admin }) => {
  await visit(page, admin.token, "/submit");
  // Of a mail or of another tab: they lie in no file system.
  const transfer = await page.evaluateHandle(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["first "], "one.txt"));
    transfer.items.add(new File(["second\n"], "two.txt"));
    transfer.items.add("words that were dragged along", "text/plain");
    return transfer;
  });
  await page.getByLabel("Name", { exact: true }).dispatchEvent("dragover", { dataTransfer: transfer });
  await expect(page.locator("form")).toHaveCSS("outline-style", "dashed");
  await page.getByLabel("Name", { exact: true }).dispatchEvent("drop", { dataTransfer: transfer });
  await expect(page.locator("form")).toHaveCSS("outline-style", "none");
  await expect(page.getByText("files.zip").first()).toBeVisible();
  await page.getByLabel("Command").fill("cat one.txt two.txt; ls");
  await page.getByRole("button", { name: "Submit job" }).click();
  const { job } = await admin.ask("job", { opt: "get", jobId: await jobNumber(page) });
  expect(await admin.output(job.jobId)).toBe("first second\none.txt\ntwo.txt\n");
});

test("files dragged from the desktop are taken by the form, and never open in its place", async ({
  page,
  admin,
}, info) => {
  const files = ["a.sh", "b.sh"].map((name) => info.outputPath(name));
  for (const file of files) writeFileSync(file, `echo ${basename(file)}\n`);
  await visit(page, admin.token, "/submit");
  await page.getByLabel("Command").fill("sh a.sh; sh b.sh");
  const browser = await page.context().newCDPSession(page);
  const drag = async (to: Locator) => {
    const box = await to.boundingBox();
    if (!box) throw new Error("it is not seen");
    const at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    for (const type of ["dragEnter", "dragOver", "drop"] as const) {
      await browser.send("Input.dispatchDragEvent", { type, ...at, data: { items: [], files, dragOperationsMask: 1 } });
    }
  };
  await drag(page.getByRole("navigation", { name: "Main" }));
  await drag(page.getByRole("complementary"));
  await expect(page.getByLabel("Command")).toHaveValue("sh a.sh; sh b.sh");
  await expect(page.getByText("Drop files")).toBeVisible();
  await drag(page.getByLabel("Command"));
  await expect(page.getByText("files.zip").first()).toBeVisible();
  await page.getByRole("button", { name: "Submit job" }).click();
  const { job } = await admin.ask("job", { opt: "get", jobId: await jobNumber(page) });
  expect(await admin.output(job.jobId)).toBe("a.sh\nb.sh\n");
});

test("the form keeps nothing of a job that it does not begin as", async ({ page, admin }) => {
  const two = await admin.ask("job", { opt: "submit", command: "echo two", timeoutSecs: 60, follow: false });
  const four = await admin.ask("job", { opt: "submit", command: "echo four", follow: false });
  const command = page.getByLabel("Command");
  await visit(page, admin.token, `/submit?from=${two.taskId}`);
  await expect(command).toHaveValue("echo two");
  await page.getByRole("heading", { level: 1 }).click();
  await page.keyboard.press("n");
  await expect(page.getByRole("heading", { name: "New job", exact: true })).toBeVisible();
  await expect(command).toHaveValue("");
  await expect(page.getByLabel("Time limit"), "folded again").not.toBeVisible();

  await page.goto(`/#/submit?from=${four.taskId}`);
  await expect(command).toHaveValue("echo four");
  await page.getByRole("link", { name: "New job" }).click();
  await expect(command).toHaveValue("");
  await page.goto(`/#/submit?from=${four.taskId}`);
  await expect(command).toHaveValue("echo four");
  await page.getByRole("button", { name: "Start empty" }).click();
  await expect(command).toHaveValue("");
  await page.goto(`/#/submit?from=${four.taskId}`);
  await expect(command).toHaveValue("echo four");
});

test("values of several lines stay so when they are edited", async ({ page, admin }) => {
  const env = { KEY: "-----BEGIN-----\nxy\n-----END-----\n" };
  const { taskId } = await admin.ask("job", { opt: "submit", command: "true", env, follow: false });
  await visit(page, admin.token, `/submit?from=${taskId}`);
  const value = page.getByLabel("Value of variable 1");
  await expect(value).toHaveValue(env.KEY);
  await value.focus();
  await page.keyboard.press("Control+End");
  await page.keyboard.type("one");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("two");
  await page.keyboard.press("Enter");
  const { job } = await admin.ask("job", { opt: "get", jobId: await jobNumber(page) });
  expect(job.spec.env).toEqual({ KEY: `${env.KEY}one\ntwo` });
});

test("the command line and the frame at the side make the same job", async ({ page, admin, server }) => {
  await visit(page, admin.token, "/submit");
  await page.getByText("Program", { exact: true }).click();
  await page.getByLabel("Program and arguments").fill(String.raw`printf '%s|' "it's" $HOME 'a b' --flag`);
  await page.getByLabel("Name", { exact: true }).fill("three ways");
  await page.getByLabel("Tags").fill("one 'two words'");
  await page.getByText("Where it runs").click();
  await page.getByLabel("Memory").fill("64MiB");
  await page.getByText("Limits, artifacts and more").click();
  await page.getByLabel("Time limit").fill("1h 30m");
  await page.getByLabel("Priority").fill("-2");
  await page.getByLabel("If its machine is lost").selectOption("requeue");
  const { line, frame } = await sameElsewhere(page);
  await page.getByRole("button", { name: "Submit job" }).click();
  const { job } = await admin.ask("job", { opt: "get", jobId: await jobNumber(page) });

  const env = { PATH: process.env["PATH"], GANGLINE, GANGLINE_URL: `${server.origin.replace("http", "ws")}/ws` };
  const typed = await run("sh", ["-c", `gangline() { "$GANGLINE" "$@"; }; ${line}`], {
    env: { ...env, GANGLINE_TOKEN: admin.token },
  });
  expect(typed.stdout).toBe("it's|$HOME|a b|--flag|");
  const sent = await admin.ask("job", { ...frame.data, follow: false });
  const { jobs } = await admin.ask("job", { opt: "list" });
  for (const { taskId } of jobs) {
    const other = await admin.ask("job", { opt: "get", jobId: taskId });
    expect(other.job.spec, `job ${taskId} of ${sent.taskId}`).toEqual(job.spec);
  }
  expect(jobs).toHaveLength(3);
});

test("what is refused is said beside its field, in the dispatcher's words", async ({ page, admin }) => {
  await visit(page, admin.token, "/submit");
  await page.getByText("Template", { exact: true }).click();
  await page.getByLabel("Template", { exact: true }).last().selectOption("fractal");
  await page.getByLabel("width").fill("99999");
  await page.getByRole("button", { name: "Submit job" }).click();
  await expect(page.getByLabel("width")).toBeFocused();
  await expect(page.getByLabel("width")).toHaveAttribute("aria-invalid", "true");
  await expect(page.getByRole("alert")).toContainText("params.width must be an integer from 1 to 8192");

  await page.getByText("Script", { exact: true }).click();
  await page.getByLabel("Command").fill("true");
  await page.getByLabel("Working directory").fill("../elsewhere");
  await page.getByText("Where it runs").click();
  await page.getByLabel("Processors").fill("some");
  await page.getByText("Where it runs").click();
  await page.getByRole("button", { name: "Submit job" }).click();
  await expect(page.getByLabel("Processors"), "what is folded away is shown").toBeFocused();
  await page.getByLabel("Processors").fill("");
  await page.getByRole("button", { name: "Submit job" }).click();
  await expect(page.getByLabel("Working directory")).toBeFocused();
  const { jobs } = await admin.ask("job", { opt: "list" });
  expect(jobs).toEqual([]);
});
