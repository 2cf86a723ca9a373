import { describe, expect, it } from "vitest";
import type { JobSpec, TemplateRecord } from "../protocol/frames.ts";
import { emptyForm, formOf, lineOf, specOf } from "./submit.ts";
import { pairsOf, sizeOf, sizeText, spanOf, spanText, splitWords } from "./words.ts";

/** Every field that a client may say, each with something that is awkward to type. */
const FULL: JobSpec = {
  args: ["python", "train.py", "it's", "", "a b", "$HOME", "two\nlines"],
  image: "python:3.12",
  env: { A: "b=c", EMPTY: "", QUOTED: `"x" 'y'` },
  cwd: "src/deep",
  name: "nightly run",
  tags: ["night", "a b", "with,comma"],
  fileUrl: "http://127.0.0.1:3000/uploads/1/a.zip",
  filename: "a.zip",
  stdin: true,
  tty: { cols: 120, rows: 40 },
  requires: { workerId: "box-1", labels: { zone: "a" }, cpus: 1.5, memoryBytes: 1_610_612_736, gpuIds: [0, 2] },
  priority: -3,
  timeoutSecs: 5400,
  queueTimeoutSecs: 0.25,
  graceSecs: 0,
  onLost: "requeue",
  maxAttempts: 5,
  artifacts: ["out/**/*.png", "a b.txt"],
};

describe("a form", () => {
  it("gives back the spec that it was filled with, field by field", () => {
    expect(specOf(formOf(FULL))).toEqual({ spec: FULL, faults: {} });
  });

  it("gives back each way to say what is run", () => {
    const specs: JobSpec[] = [
      { command: "echo 'hi'\nsleep 1" },
      { command: "make", image: "gcc" },
      { image: "hello-world" },
      { args: ["true"] },
      { template: "fractal", params: { name: "x" } },
      { command: "x", requires: { gpus: 2 }, tty: true },
    ];
    for (const spec of specs) expect(specOf(formOf(spec)).spec).toEqual(spec);
  });

  it("says nothing of what was left empty", () => {
    expect(specOf({ ...emptyForm(), command: "ls" })).toEqual({ spec: { command: "ls" }, faults: {} });
  });

  it("names the field that cannot be read", () => {
    const form = { ...emptyForm(), cpus: "two", memory: "1.5G", timeout: "soon", gpuIds: "0,x", tags: "'a" };
    expect(Object.keys(specOf(form).faults).sort()).toEqual([
      "requires.cpus",
      "requires.gpuIds",
      "requires.memoryBytes",
      "tags",
      "timeoutSecs",
    ]);
  });

  it("gives a template's parameters their types, and leaves what does not fit to the dispatcher", () => {
    const param = (name: string, type: "integer" | "boolean" | "string", required = false) => ({
      name,
      type,
      required,
    });
    const template: TemplateRecord = {
      name: "t",
      params: [param("n", "integer"), param("bad", "integer"), param("on", "boolean"), param("text", "string", true)],
    };
    const params = { n: "3", bad: "many", on: "false", text: "", unsaid: "" };
    const { spec } = specOf({ ...emptyForm(), runs: "template", template: "t", params }, template);
    expect(spec.params).toEqual({ n: 3, bad: "many", on: false, text: "" });
  });
});

describe("the command line", () => {
  it("says the same job, with what a shell would take apart quoted", () => {
    const { line, unsaid } = lineOf(FULL);
    expect(splitWords(line)).toEqual(
      [
        ["gangline", "run", "--interactive", "--tty", "--image", "python:3.12"],
        ["--env", "A=b=c", "--env", "EMPTY=", "--env", `QUOTED="x" 'y'`, "--cwd", "src/deep", "--name", "nightly run"],
        ["--tag", "night", "--tag", "a b", "--tag", "with,comma", "--file", "a.zip"],
        ["--artifact", "out/**/*.png", "--artifact", "a b.txt"],
        ["--timeout", "1h30m", "--queue-timeout", "250ms", "--grace", "0s", "--priority=-3"],
        ["--requeue", "--max-attempts", "5", "--label", "zone=a", "--cpus", "1.5", "--memory", "1536MiB"],
        ["--worker", "box-1", "--", ...(FULL.args ?? [])],
      ].flat(),
    );
    expect(unsaid).toHaveLength(3);
  });

  it("takes a script as one word, and a template with its parameters", () => {
    expect(lineOf({ command: "echo 'hi'" }).line).toBe(`gangline run -- 'echo '\\''hi'\\'''`);
    expect(lineOf({ template: "fractal", params: { width: 640 } }).line).toBe(
      "gangline run --template fractal --param width=640",
    );
  });

  it("owns up to what it has no flag for", () => {
    expect(lineOf({ args: ["ls"] }).unsaid).toHaveLength(1);
    expect(lineOf({ command: "ls", key: "k", requires: { gpuIds: [1] } }).unsaid).toHaveLength(2);
  });
});

describe("words", () => {
  it("are split as a shell splits them", () => {
    expect(splitWords(String.raw`a "b c" 'd"e' f\ g "h\"i\n" ''`)).toEqual(["a", "b c", `d"e`, "f g", `h"i\\n`, ""]);
    expect(splitWords(" ")).toEqual([]);
    expect(splitWords("a 'b")).toBeNull();
  });

  it("are read from a file of variables", () => {
    const text = `# who\nexport A=1\nB="two words"\n\n C='x=y' \n`;
    expect(pairsOf(text)).toEqual([
      { name: "A", value: "1" },
      { name: "B", value: "two words" },
      { name: "C", value: "x=y" },
    ]);
    expect(pairsOf("A=1\nno")).toBeNull();
  });

  it("are sizes and times as on the command line", () => {
    expect(["4096", "64KiB", "256 MiB", "4GB", "2g"].map(sizeOf)).toEqual([4096, 65536, 2 ** 28, 4e9, 2 ** 31]);
    expect(["", "MiB", "-1", "1.5G", "1 parsec"].map(sizeOf)).toEqual([null, null, null, null, null]);
    expect(["30s", "10m", "1h 30m", "1d", "45", "1.5"].map(spanOf)).toEqual([30, 600, 5400, 86400, 45, 1.5]);
    expect(["", "m", "-1s", "soon"].map(spanOf)).toEqual([null, null, null, null]);
    for (const bytes of [0, 1, 1000, 1024, 2 ** 30]) expect(sizeOf(sizeText(bytes))).toBe(bytes);
    for (const secs of [0, 0.25, 90, 5400, 90_061]) expect(spanOf(spanText(secs))).toBe(secs);
  });
});
