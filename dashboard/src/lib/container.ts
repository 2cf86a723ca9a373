// A container as a form has it, as the dispatcher takes it, and as the command line says it; and what is told of one.
//
// Here it is only refused what cannot be read, under the name of the field that the dispatcher would use.
import type { ContainerRecord, Create, Mount, Restart } from "../protocol/frames.ts";
import { line } from "./commands.ts";
import { LIST, sizeOf, sizeText, spanOf, spanText, splitWords, type Pair } from "./words.ts";

/** Everything as it is typed. */
export interface Form {
  image: string;
  name: string;
  /** As on the command line, with spaces between. */
  ports: string;
  /** A shell script; empty: the image's own program. */
  command: string;
  env: Pair[];
  cpus: string;
  memory: string;
  gpus: string;
  mounts: Mount[];
  restart: Restart;
  tty: boolean;
  workerId: string;
  labels: Pair[];
  grace: string;
}

/** What is wrong, by field. */
export type Faults = Record<string, string>;

export const RESTARTS: Record<Restart, string> = {
  no: "Never",
  "on-failure": "After a failure",
  always: "Always",
  "unless-stopped": "Unless it was stopped",
};

export function emptyForm(): Form {
  return {
    image: "",
    name: "",
    ports: "",
    command: "",
    env: [],
    cpus: "",
    memory: "",
    gpus: "",
    mounts: [],
    restart: "no",
    tty: false,
    workerId: "",
    labels: [],
    grace: "",
  };
}

/** The container that a form means, without what it leaves open, and what cannot be read of it. */
export function createOf(form: Form): { create: Create; faults: Faults } {
  const faults: Faults = {};
  const read = <T>(field: string, text: string, parse: (text: string) => T | null, like: string): T | undefined => {
    if (text.trim() === "") return undefined;
    const value = parse(text);
    if (value === null) faults[field] = `This is to be ${like}.`;
    return value ?? undefined;
  };
  if (form.image.trim() === "") faults["imageId"] = "An image is needed.";
  const ports = splitWords(form.ports, LIST) ?? [];
  const bad = ports.find((port) => !/^(\d+:)?\d+(\/(tcp|udp))?$/.test(port));
  if (bad !== undefined) faults["ports"] = `“${bad}” is no port such as 80, 8080:80 or 53/udp.`;
  const cpus = read("cpus", form.cpus, positive, "a number such as 0.5");
  const memoryBytes = read("memoryBytes", form.memory, sizeOf, "a size such as 512MiB");
  const gpus = read("gpus", form.gpus, whole, "a whole number");
  const graceSecs = read("graceSecs", form.grace, spanOf, "a time such as 30s");
  const env = pairs(form.env);
  const labels = pairs(form.labels);
  const mounts = form.mounts
    .filter(({ volume, path }) => volume !== "" || path !== "")
    .map(({ volume, path, readOnly }) => ({ volume, path, ...(readOnly && { readOnly }) }));
  const create: Create = {
    imageId: form.image.trim(),
    ...(form.name.trim() && { name: form.name.trim() }),
    ...(ports.length > 0 && { ports: ports.map((port) => (/^\d+$/.test(port) ? Number(port) : port)) }),
    ...(form.command.trim() && { command: form.command }),
    ...(env && { env }),
    ...(cpus !== undefined && { cpus }),
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(gpus && { gpus }),
    ...(mounts.length > 0 && { mounts }),
    ...(form.restart !== "no" && { restart: form.restart }),
    ...(form.tty && { tty: true }),
    ...(form.workerId && { workerId: form.workerId }),
    ...(labels && { requires: { labels } }),
    ...(graceSecs !== undefined && { graceSecs }),
  };
  return { create, faults };
}

/** The command that makes the same container. */
export function createLine(create: Create, url: string): string {
  const flag = (name: string, value: string | number | null | undefined) =>
    value === null || value === undefined ? [] : [name, String(value)];
  const each = (name: string, values: Record<string, string> | undefined) =>
    Object.entries(values ?? {}).flatMap(([key, value]) => [name, `${key}=${value}`]);
  return line(
    ...["gangline", "container", "create", "--url", url],
    ...flag("--name", create.name),
    ...(create.ports ?? []).flatMap((port) => flag("-p", typeof port === "object" ? port.container : port)),
    ...each("-e", create.env),
    ...flag("--cpus", create.cpus),
    ...flag("--memory", typeof create.memoryBytes === "number" ? sizeText(create.memoryBytes) : null),
    ...flag("--gpus", create.gpus),
    ...(create.mounts ?? []).flatMap(({ volume, path, readOnly }) => [
      "--mount",
      `${volume}:${path}${readOnly ? ":ro" : ""}`,
    ]),
    ...(create.tty ? ["-t"] : []),
    ...flag("--restart", create.restart),
    ...flag("--grace", typeof create.graceSecs === "number" ? spanText(create.graceSecs).replaceAll(" ", "") : null),
    ...each("--label", create.requires?.labels),
    ...flag("--worker", create.workerId),
    create.imageId || "IMAGE",
    ...(create.command ? ["--", create.command] : []),
  );
}

function positive(text: string): number | null {
  const value = Number(text);
  return Number.isFinite(value) && value > 0 ? value : null;
}

function whole(text: string): number | null {
  return /^\d{1,6}$/.test(text.trim()) ? Number(text) : null;
}

function pairs(of: readonly Pair[]): Record<string, string> | null {
  const named = of.filter(({ name }) => name.trim() !== "");
  return named.length > 0 ? Object.fromEntries(named.map(({ name, value }) => [name.trim(), value])) : null;
}

/** What people call it. */
export function titleOf(container: ContainerRecord): string {
  return container.name ?? container.containerId;
}

/** Where a port may be opened in a browser; null for what no browser speaks, and for who is not reachable. */
export function portLink(port: ContainerRecord["ports"][number]): string | null {
  if (port.protocol === "udp" || !port.address) return null;
  return `${port.container === 443 || port.container === 8443 ? "https" : "http"}://${port.address}`;
}

/** How one reaches its files: server, name and the whole command. Null where its worker has no SFTP server. */
export function sftpOf(
  container: ContainerRecord,
  account: string,
): { address: string; user: string; command: string } | null {
  const address = container.sftp ?? "";
  const [, host, port] = /^(.+):(\d+)$/.exec(address) ?? [];
  if (host === undefined || port === undefined) return null;
  const user = `${account}.${container.containerId}`;
  return { address, user, command: line("sftp", "-P", port, `${user}@${host}`) };
}

/** Whether every word of `text` is somewhere in what is told of a container. */
export function isMeant(container: ContainerRecord, text: string): boolean {
  const { name, containerId, imageId, workerId, account, number } = container;
  const all = [name ?? "", containerId, imageId, workerId, account, number].join("\n").toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}
