// Submitting: the form makes the job that it shows, in three ways that are the same.
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
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
