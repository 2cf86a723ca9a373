// A job as a form has it, as the dispatcher takes it, and as the command line says it.
//
// Guards: a spec that becomes a form becomes the same spec again. Whether a job makes sense only the dispatcher decides;
// here it is only refused what cannot be read at all, under the name of the field that the dispatcher would use.
import type { JobSpec, ParamRecord, Requires, Submit, TemplateRecord } from "../protocol/frames.ts";
import { shellWord } from "./format.ts";
import { joinWords, LIST, sizeOf, sizeText, spanOf, spanText, splitWords, type Pair } from "./words.ts";

/** What says what is run. */
export type Runs = "command" | "args" | "image" | "template";

/** Everything as it is typed. */
export interface Form {
  runs: Runs;
  command: string;
  args: string;
  image: string;
  template: string;
  params: Record<string, string>;
  name: string;
  tags: string;
  cwd: string;
  env: Pair[];
  /** An upload that is there. */
  file: { url: string; name: string | null } | null;
  workerId: string;
  labels: Pair[];
  cpus: string;
  memory: string;
  gpus: string;
  gpuIds: string;
  priority: string;
  timeout: string;
  queueTimeout: string;
  grace: string;
  requeue: boolean;
  maxAttempts: string;
  artifacts: string;
  stdin: boolean;
  tty: boolean;
  cols: string;
  rows: string;
  key: string;
}

/** What is wrong, by the path of the field. */
export type Faults = Record<string, string>;

export function emptyForm(): Form {
  return {
    runs: "command",
    command: "",
    args: "",
    image: "",
    template: "",
    params: {},
    name: "",
    tags: "",
    cwd: "",
    env: [],
    file: null,
    workerId: "",
    labels: [],
    cpus: "",
    memory: "",
    gpus: "",
    gpuIds: "",
    priority: "",
    timeout: "",
    queueTimeout: "",
    grace: "",
    requeue: false,
    maxAttempts: "",
    artifacts: "",
    stdin: false,
    tty: false,
    cols: "",
    rows: "",
    key: "",
  };
}

/** The form that `specOf` makes this spec of. What only `container` frames can ask for is left out. */
export function formOf(spec: JobSpec): Form {
  const text = (value: number | null | undefined) => (value === null || value === undefined ? "" : String(value));
  const span = (secs: number | null | undefined) => (secs === null || secs === undefined ? "" : spanText(secs));
  const pairs = (map: Record<string, string> | undefined) =>
    Object.entries(map ?? {}).map(([name, value]) => ({ name, value }));
  const params = Object.entries(spec.params ?? {}).map(([name, value]) => [
    name,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  const { requires = {}, tty } = spec;
  const { memoryBytes, gpuIds } = requires;
  return {
    runs: runsOf(spec),
    command: spec.command ?? "",
    args: (spec.args ?? []).map(shellWord).join(" "),
    image: spec.image ?? "",
    template: spec.template ?? "",
    params: Object.fromEntries(params) as Record<string, string>,
    name: spec.name ?? "",
    tags: joinWords(spec.tags ?? []),
    cwd: spec.cwd ?? "",
    env: pairs(spec.env),
    file: spec.fileUrl ? { url: spec.fileUrl, name: spec.filename ?? null } : null,
    workerId: requires.workerId ?? "",
    labels: pairs(requires.labels),
    cpus: text(requires.cpus),
    memory: memoryBytes === null || memoryBytes === undefined ? "" : sizeText(memoryBytes),
    gpus: text(requires.gpus),
    gpuIds: gpuIds?.join(", ") ?? "",
    priority: spec.priority ? String(spec.priority) : "",
    timeout: span(spec.timeoutSecs),
    queueTimeout: span(spec.queueTimeoutSecs),
    grace: span(spec.graceSecs),
    requeue: spec.onLost === "requeue",
    maxAttempts: text(spec.maxAttempts),
    artifacts: joinWords(spec.artifacts ?? []),
    stdin: spec.stdin ?? false,
    tty: Boolean(tty),
    cols: typeof tty === "object" ? String(tty.cols) : "",
    rows: typeof tty === "object" ? String(tty.rows) : "",
    key: "",
  };
}

function runsOf({ command, args, image, template }: JobSpec): Runs {
  if (template) return "template";
  if (args) return "args";
  if (image && !command) return "image";
  return "command";
}

/** What is submitted; only what was said is in it. `template` is the one that the form names, where it is known. */
export function specOf(form: Form, template?: TemplateRecord): { spec: Submit; faults: Faults } {
  const faults: Faults = {};
  const read = <T>(path: string, text: string, how: (text: string) => T | null, wanted: string): T | undefined => {
    if (text.trim() === "") return undefined;
    const value = how(text);
    if (value === null) faults[path] = wanted;
    return value ?? undefined;
  };
  const number = (path: string, text: string) => read(path, text, decimal, "a number is wanted");
  const whole = (path: string, text: string) => read(path, text, integer, "a whole number is wanted");
  const span = (path: string, text: string) => read(path, text, spanOf, "a time such as 90, 10m or 1h 30m is wanted");
  const list = (path: string, text: string) =>
    read(path, text, (text) => splitWords(text, LIST), "a quote is not closed");

  const { runs } = form;
  const env = mapOf(form.env);
  const requires = filled<Requires>({
    workerId: form.workerId.trim(),
    labels: mapOf(form.labels),
    cpus: number("requires.cpus", form.cpus),
    memoryBytes: read("requires.memoryBytes", form.memory, sizeOf, "a size such as 512MiB or 4GiB is wanted"),
    gpus: whole("requires.gpus", form.gpus),
    gpuIds: read("requires.gpuIds", form.gpuIds, indexes, "numbers such as 0, 1 are wanted"),
  });
  const cols = whole("tty.cols", form.cols);
  const rows = whole("tty.rows", form.rows);
  const tty = cols !== undefined && rows !== undefined ? { cols, rows } : true;
  const spec = filled<Submit>({
    command: runs === "command" ? form.command : undefined,
    args: runs === "args" ? read("args", form.args, splitWords, "a quote is not closed") : undefined,
    template: runs === "template" ? form.template : undefined,
    params: runs === "template" ? paramsOf(form.params, template) : undefined,
    image: runs === "template" ? undefined : form.image.trim(),
    name: form.name.trim(),
    tags: list("tags", form.tags),
    cwd: form.cwd.trim(),
    env,
    fileUrl: form.file?.url,
    filename: form.file?.name ?? undefined,
    requires: Object.keys(requires).length > 0 ? requires : undefined,
    priority: whole("priority", form.priority),
    timeoutSecs: span("timeoutSecs", form.timeout),
    queueTimeoutSecs: span("queueTimeoutSecs", form.queueTimeout),
    graceSecs: span("graceSecs", form.grace),
    onLost: form.requeue ? "requeue" : undefined,
    maxAttempts: form.requeue ? whole("maxAttempts", form.maxAttempts) : undefined,
    artifacts: list("artifacts", form.artifacts),
    stdin: form.stdin || undefined,
    tty: form.tty ? tty : undefined,
    key: form.key.trim(),
  });
  return { spec, faults };
}

/** Without what is empty, which is as good as not said. */
function filled<T extends object>(fields: { [K in keyof T]: T[K] | undefined }): T {
  const said = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return Object.fromEntries(said) as T;
}

function mapOf(pairs: readonly Pair[]): Record<string, string> | undefined {
  const named = pairs.filter(({ name, value }) => name.trim() !== "" || value !== "");
  if (named.length === 0) return undefined;
  return Object.fromEntries(named.map(({ name, value }) => [name.trim(), value]));
}

function paramsOf(typed: Record<string, string>, template?: TemplateRecord): Record<string, unknown> | undefined {
  const said = Object.entries(typed).filter(([name, value]) => value !== "" || wants(name, template));
  const types = new Map(template?.params.map((param) => [param.name, param.type]));
  const params = said.map(([name, value]) => [name, paramValue(value, types.get(name))] as const);
  return params.length > 0 ? Object.fromEntries(params) : undefined;
}

/** Whether an empty text is said as such, because the parameter has no other value. */
function wants(name: string, template?: TemplateRecord): boolean {
  return template?.params.some((param) => param.name === name && param.required && param.type === "string") ?? false;
}

/** The dispatcher says what is wrong with what does not fit its type. */
function paramValue(text: string, type: ParamRecord["type"] | undefined): unknown {
  switch (type) {
    case "integer":
    case "number":
      return decimal(text) ?? text;
    case "boolean":
      return text === "true" ? true : text === "false" ? false : text;
    case "string":
    case "choice":
    case undefined:
      return text;
  }
}

function decimal(text: string): number | null {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) ? value : null;
}

function integer(text: string): number | null {
  const value = decimal(text);
  return value !== null && Number.isSafeInteger(value) ? value : null;
}

function indexes(text: string): number[] | null {
  const values = text.split(LIST).filter(Boolean).map(integer);
  const isGood = values.every((value) => value !== null && value >= 0);
  return isGood ? (values as number[]) : null;
}

/** The same job on the command line, and what that cannot say. */
export function lineOf(spec: Submit): { line: string; unsaid: string[] } {
  const words: string[] = ["gangline", "run"];
  const unsaid: string[] = [];
  const flag = (name: string, value: string | number | null | undefined) => {
    if (value === null || value === undefined) return;
    const word = shellWord(String(value));
    // A value that looks like a flag must hang on its own.
    words.push(...(String(value).startsWith("-") ? [`--${name}=${word}`] : [`--${name}`, word]));
  };
  const pairs = (name: string, map: Record<string, unknown> | undefined) => {
    for (const [key, value] of Object.entries(map ?? {})) {
      flag(name, `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
    }
  };
  const span = (name: string, secs: number | null | undefined) => {
    if (secs !== null && secs !== undefined) flag(name, spanText(secs).replaceAll(" ", ""));
  };
  const { requires = {} } = spec;

  if (spec.stdin) words.push("--interactive");
  if (spec.tty) words.push("--tty");
  if (typeof spec.tty === "object") unsaid.push("the size of the terminal: it is that of the window");
  flag("template", spec.template);
  pairs("param", spec.params);
  flag("image", spec.image);
  pairs("env", spec.env);
  flag("cwd", spec.cwd);
  flag("name", spec.name);
  for (const tag of spec.tags ?? []) flag("tag", tag);
  if (spec.fileUrl) {
    flag("file", spec.filename ?? "FILE.zip");
    unsaid.push("the upload: --file takes a ZIP or a directory of the machine where it is typed");
  }
  for (const pattern of spec.artifacts ?? []) flag("artifact", pattern);
  span("timeout", spec.timeoutSecs);
  span("queue-timeout", spec.queueTimeoutSecs);
  span("grace", spec.graceSecs);
  flag("priority", spec.priority);
  if (spec.onLost === "requeue") {
    words.push("--requeue");
    flag("max-attempts", spec.maxAttempts);
  }
  pairs("label", requires.labels);
  flag("gpus", requires.gpus);
  if (requires.gpuIds) unsaid.push("which GPUs: --gpus only says how many");
  flag("cpus", requires.cpus);
  if (requires.memoryBytes !== null && requires.memoryBytes !== undefined) {
    flag("memory", sizeText(requires.memoryBytes));
  }
  flag("worker", requires.workerId);
  if (spec.key) unsaid.push("the key, which keeps a repeated submit from running twice");
  if (spec.command) words.push("--", shellWord(spec.command));
  if (spec.args) words.push("--", ...spec.args.map(shellWord));
  if (spec.args?.length === 1) unsaid.push("that it is run without a shell: a single word is a script");
  return { line: words.join(" "), unsaid };
}
