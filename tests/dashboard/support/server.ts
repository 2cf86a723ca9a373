// A dispatcher and workers, real processes with a directory of their own, that can be killed and come back.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Peer } from "./peer";

/** The program. */
export const GANGLINE = process.env.GANGLINE ?? resolve(__dirname, "../../../target/debug/gangline");

/** Nothing of this machine's settings reaches them. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("GANGLINE_")));

/** How long a process may take to answer. Long, because machines that build are busy. */
const SOON_MS = 20_000;

export class Server {
  readonly #home = mkdtempSync(join(tmpdir(), "gangline-dashboard-"));
  readonly #flags: string[];
  #port = 0;
  #serving: ChildProcess | null = null;
  readonly #workers = new Map<string, ChildProcess>();

  constructor(...flags: string[]) {
    this.#flags = flags;
  }

  /** Where it is, without a slash at the end. */
  get origin(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get adminToken(): string {
    return this.#token("admin.token");
  }

  /** Starts the dispatcher, again on the same address and with the same data, and waits until it answers. */
  async start(): Promise<void> {
    this.#port ||= await freePort();
    const args = [
      "serve",
      "--listen",
      `127.0.0.1:${this.#port}`,
      "--data-dir",
      join(this.#home, "data"),
      ...this.#flags,
    ];
    const serving = this.#spawn("dispatcher", args);
    this.#serving = serving;
    await eventually("the dispatcher to answer", async () => {
      if (serving.exitCode !== null) throw new Error(`the dispatcher ended: ${this.words("dispatcher")}`);
      return (await fetch(`${this.origin}/readyz`)).ok;
    });
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.#serving) await gone(this.#serving);
    this.#serving = null;
  }

  /** A worker, and waits until the dispatcher knows it. */
  async worker(id: string, ...flags: string[]): Promise<void> {
    const args = ["worker", "--url", `${this.origin.replace("http", "ws")}/ws`, "--id", id];
    args.push("--data-dir", join(this.#home, id), "--token-file", join(this.#home, "data/worker.token"), ...flags);
    this.#workers.set(id, this.#spawn(id, args));
    const admin = await this.admin();
    await eventually(`worker ${id}`, async () => {
      const { workers } = await admin.ask("worker", { opt: "list" });
      return workers.some((worker: { workerId: string }) => worker.workerId === id);
    });
    admin.close();
  }

  /** SIGKILL for a worker, and waits until it is gone. */
  async killWorker(id: string): Promise<void> {
    const worker = this.#workers.get(id);
    if (worker) await gone(worker);
  }

  /** Puts a program where the shells of jobs find it. */
  program(name: string, script: string): void {
    mkdirSync(join(this.#home, "bin"), { recursive: true });
    writeFileSync(join(this.#home, "bin", name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }

  /** An administrator's connection. */
  admin(): Promise<Peer> {
    return Peer.connect(this.origin, this.adminToken);
  }

  /** A connection of an account of role `user`, made if it is not there, that signs in with this password in the page. */
  async user(account: string, password: string): Promise<Peer> {
    const admin = await this.admin();
    await admin.ask("auth", { opt: "userAdd", account, password });
    const { token } = await admin.ask("auth", {
      opt: "tokenCreate",
      role: "user",
      account,
    });
    admin.close();
    return Peer.connect(this.origin, token);
  }

  /** What a process said on its standard error. */
  words(name: string): string {
    const log = join(this.#home, `${name}.log`);
    return existsSync(log) ? readFileSync(log, "utf8") : "";
  }

  /** Ends all of it and takes away what it left. */
  async end(): Promise<void> {
    // Workers last: with their dispatcher there, they would first wait for what runs.
    await this.kill();
    await Promise.all([...this.#workers.values()].map(gone));
    rmSync(this.#home, { recursive: true, force: true });
  }

  #token(file: string): string {
    return readFileSync(join(this.#home, "data", file), "utf8").trim();
  }

  #spawn(name: string, args: string[]): ChildProcess {
    const env = {
      ...ENVIRONMENT,
      PATH: `${join(this.#home, "bin")}:${ENVIRONMENT["PATH"]}`,
      HOME: this.#home,
      XDG_CONFIG_HOME: this.#home,
      XDG_DATA_HOME: this.#home,
    };
    const child = spawn(GANGLINE, args, {
      cwd: this.#home,
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    child.stderr?.on("data", (text) => appendFileSync(join(this.#home, `${name}.log`), text));
    return child;
  }
}

async function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

/** Not one that the system gives to outgoing connections: those would take it while a server that is to come back to it is down. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    const listener = createServer();
    const free = await new Promise<boolean>((tell) => {
      listener.once("error", () => tell(false)).listen(port, "127.0.0.1", () => tell(true));
    });
    if (!free) continue;
    await new Promise((done) => listener.close(done));
    return port;
  }
}

/** Asks again and again until it is so. */
export async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + SOON_MS;
  for (let last: unknown; ;) {
    try {
      if (await isSo()) return;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`waited ${SOON_MS} ms for ${what}`, { cause: last });
    await new Promise((wake) => setTimeout(wake, 20));
  }
}
