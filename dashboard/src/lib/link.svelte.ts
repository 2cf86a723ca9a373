// The one connection to the dispatcher: signs in, asks, hears, comes back by itself.
//
// Whoever asks gets one answer or one error. Whoever watches is told when what was heard may be incomplete (`stale`) and
// when it may be asked for anew (`fresh`), so that nothing old is shown as if it were live.
// Not here: which place of a log to go on from (log.ts), where tokens are kept (session.svelte.ts).
import { untrack } from "svelte";
import type {
  AuthEvent,
  AuthOk,
  AuthRequest,
  ContainerEvent,
  ContainerRequest,
  JobEvent,
  JobRequest,
  PluginEvent,
  PluginRequest,
  Role,
  ServerHello,
  ToClient,
  WireError,
  WorkerEvent,
  WorkerRequest,
} from "../protocol/frames.ts";
import { traffic } from "./traffic.svelte.ts";

interface Requests {
  auth: AuthRequest;
  job: JobRequest;
  worker: WorkerRequest;
  container: ContainerRequest;
  plugin: PluginRequest;
}
interface Events {
  auth: AuthEvent;
  job: JobEvent;
  worker: WorkerEvent;
  container: ContainerEvent;
  plugin: PluginEvent;
}
type Noun = keyof Requests;
/** The event of a noun that has this verb. */
export type Heard<N extends Noun, O extends Events[N]["opt"]> = Extract<Events[N], { opt: O }>;

/** How the connection stands. */
export type State = "connecting" | "live" | "waiting" | "signedOut";

/** What shows who we are. */
export type Credentials = { token: string } | { account: string; password: string };

/** An error of the dispatcher, or of the way to it. */
export class Refusal extends Error {
  readonly code: WireError["code"] | "disconnected";
  /** The field that is at fault. */
  readonly field: string | null;
  /** Whether the same may succeed later. */
  readonly retry: boolean;

  constructor(error: { code: Refusal["code"]; message: string; field?: string | null; retry?: boolean }) {
    super(error.message);
    this.code = error.code;
    this.field = error.field ?? null;
    this.retry = error.retry ?? false;
  }
}

/** Hears what is pushed under a noun. */
export interface Watcher<N extends "job" | "worker" | "container"> {
  event(event: Events[N]): void;
  /** The connection is there, or changes were left out: what was known is to be asked for again. */
  fresh(): void;
  /** The connection is gone. */
  stale?(): void;
}

/** Reads one log. */
export interface LogListener {
  /** The cursor to go on from. */
  after(): string;
  event(event: JobEvent | ContainerEvent): void;
  stale(): void;
  failed(error: Refusal): void;
}

interface Waiting {
  answered(frame: ToClient): void;
  reject(error: Refusal): void;
  deadline: number;
}

/** A frame as somebody typed it. */
export interface TypedFrame {
  type: string;
  id?: string | number;
  data?: unknown;
}

/** An answer that takes longer will not come, */
const ANSWER_MS = 60_000;
/** but a container may have to wait for its image to be fetched. */
const CONTAINER_MS = 30 * 60_000;
/** After so long a silence the other side is asked whether it is there, */
const SILENCE_MS = 15_000;
/** and given so long to say so. */
const PONG_MS = 10_000;
/** Waits between attempts to connect grow up to this, and are drawn at random below it. */
const BACKOFF_MOST_MS = 10_000;
const BACKOFF_LEAST_MS = 250;
/** Close codes from here on say that coming back is of no use, */
const FINAL_FROM = 4500;
/** and this one that it is the credentials that are of none. */
const UNAUTHORIZED = 4501;
/** What they mean to people. */
const ENDINGS: Record<number, string> = {
  4500: "The dispatcher closed the connection after too many errors.",
  [UNAUTHORIZED]: "You were signed out: the session has ended, or the token was revoked.",
  4503: "Pages from this address may not connect. The dispatcher's --allowed-origin names those that may.",
  4506: "The dispatcher speaks another version of the protocol. Load the page again.",
};
/** Who signs in elsewhere: nothing that is asked for here would be answered to them. */
const OTHERS: Record<Role, string | null> = {
  user: null,
  admin: null,
  worker: "This token connects a worker: sign in here with a token of role user or admin, or with a password.",
  plugin: "This token connects a plugin: sign in here with a token of role user or admin, or with a password.",
};
/** How long after a token could not be renewed it is tried again. */
const RENEW_AGAIN_MS = 5000;
/** Verbs after which it must be said again what the page itself watches. */
const TOUCHING = new Set(["unwatch", "unfollow", "unstats", "follow"]);

const GONE = () =>
  new Refusal({ code: "disconnected", message: "The connection was lost before the answer came.", retry: true });

/** Whether an id is a container's and not a job's. */
export function isContainer(id: string): boolean {
  return id.startsWith("ctr-");
}

class Link {
  state = $state<State>("connecting");
  /** Why it is not live. */
  trouble = $state<string | null>(null);
  /** When the next attempt to connect is made, in milliseconds of this machine's clock. */
  nextTry = $state<number | null>(null);
  hello = $state.raw<ServerHello | null>(null);
  identity = $state.raw<AuthOk | null>(null);
  /** The server's clock less this machine's, in milliseconds. */
  skew = $state(0);

  /** What to sign in with; none: an open server may do without. */
  credentials: () => Credentials | null = () => null;
  /** A fresh token in place of one that runs out; none: there is no other to be had.
   * @throws Refusal where it may be had later */
  renew: () => Promise<string | null> = async () => null;
  /** Signed in; a token comes of a password. */
  signedIn: (identity: AuthOk) => void = () => undefined;
  /** The credentials are of no use. */
  refused: (error: Refusal) => void = () => undefined;

  #socket: WebSocket | null = null;
  #lastId = 0;
  #waiting = new Map<string | number, Waiting>();
  #heardAt = 0;
  #askedAt = 0;
  #attempts = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #beat: ReturnType<typeof setInterval> | undefined;
  #watchers = {
    job: new Set<Watcher<"job">>(),
    worker: new Set<Watcher<"worker">>(),
    container: new Set<Watcher<"container">>(),
  };
  /** Readers, and whether what comes was asked for by them: what an earlier one asked for may still be on its way. */
  #logs = new Map<string, { listener: LogListener; isOpen: boolean }>();
  #stats = new Map<string, Set<(event: Heard<"container", "stats">) => void>>();

  /** Connects, and stays connected until `stop`. */
  start(): void {
    this.stop();
    this.state = "connecting";
    this.#attempts = 0;
    this.#open();
    this.#beat = setInterval(() => this.#listen(), 1000);
    addEventListener("online", this.#hurry);
    document.addEventListener("visibilitychange", this.#hurry);
  }

  /** The server's clock, in milliseconds. */
  now(): number {
    return Date.now() + this.skew;
  }

  /** Hangs up. */
  stop(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    removeEventListener("online", this.#hurry);
    document.removeEventListener("visibilitychange", this.#hurry);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#lost();
    this.identity = null;
  }

  /** Hangs up, because nobody is signed in any more. */
  signOut(why: string | null): void {
    this.stop();
    this.trouble = why;
    this.state = "signedOut";
  }

  /** Asks, and waits for the answer. */
  async ask<N extends Noun, O extends Events[N]["opt"]>(
    noun: N,
    data: Requests[N],
    answer: O,
  ): Promise<Extract<Events[N], { opt: O }>> {
    const event = (await this.#request(noun, data)) as Events[N];
    if (event.opt !== answer) {
      throw new Refusal({ code: "internal", message: `expected ${answer}, got ${event.opt}`, retry: false });
    }
    return event as Extract<Events[N], { opt: O }>;
  }

  /** Sends a frame as it was typed, with an `id` if it has none; the answer, an error or not, as it came.
   * @throws Refusal where there is none */
  async sendTyped(frame: TypedFrame): Promise<ToClient> {
    const id = frame.id ?? ++this.#lastId;
    if (this.#waiting.has(id)) {
      throw new Refusal({ code: "conflict", message: `the id ${id} already waits for its answer`, field: "id" });
    }
    const answer = await this.#exchange({ ...frame, id });
    const { opt } = (frame.data ?? {}) as { opt?: unknown };
    if (typeof opt === "string" && TOUCHING.has(opt)) this.#watchEverything();
    return answer;
  }

  /** Has the connection rest on another token of the same account.
   * @throws Refusal */
  async goOnWith(token: string): Promise<void> {
    const answer = (await this.#request("auth", { opt: "login", token })) as AuthEvent;
    if (answer.opt !== "ok" || !("account" in answer)) return;
    this.identity = answer;
    this.signedIn({ ...answer, token });
  }

  /** Says something that is answered only when it fails: keystrokes. */
  tell<N extends Noun>(noun: N, data: Requests[N]): void {
    if (this.#isLive()) this.#send({ type: noun, data });
  }

  /** Hears every change of jobs, workers or containers until the returned function is called. */
  watch<N extends "job" | "worker" | "container">(noun: N, watcher: Watcher<N>): () => void {
    const watchers: Set<Watcher<N>> = this.#watchers[noun] as Set<Watcher<N>>;
    watchers.add(watcher);
    if (this.#isLive()) {
      if (watchers.size === 1) void this.#watchAgain(noun);
      else untrack(() => watcher.fresh());
    }
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0) this.tell(noun, { opt: "unwatch" } as Requests[N]);
    };
  }

  /** Reads a log from `listener.after()` on, over any number of connections, until the returned function is called. One
   * reader a log: the newest. */
  follow(id: string, listener: LogListener): () => void {
    this.#logs.set(id, { listener, isOpen: false });
    if (this.#isLive()) void this.#followAgain(id, listener);
    return () => {
      if (this.#logs.get(id)?.listener !== listener) return;
      this.#logs.delete(id);
      if (isContainer(id)) this.tell("container", { opt: "unfollow", containerId: id });
      else this.tell("job", { opt: "unfollow", jobId: id });
    };
  }

  /** What a container uses, about once a second, until the returned function is called. */
  stats(containerId: string, hear: (event: Heard<"container", "stats">) => void): () => void {
    const listeners = this.#stats.get(containerId) ?? new Set();
    this.#stats.set(containerId, listeners.add(hear));
    if (listeners.size === 1) this.tell("container", { opt: "stats", containerId });
    return () => {
      listeners.delete(hear);
      if (listeners.size > 0) return;
      this.#stats.delete(containerId);
      this.tell("container", { opt: "unstats", containerId });
    };
  }

  /** An effect that watches does not begin anew with each change of the state: coming back is the link's own business. */
  #isLive(): boolean {
    return untrack(() => this.state) === "live";
  }

  #open(): void {
    this.nextTry = null;
    const address = new URL("ws", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    const socket = new WebSocket(address, "gangline.v1");
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.#askedAt = 0;
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket && typeof data === "string") this.#heard(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#closed(code, reason);
    };
  }

  #heard(text: string): void {
    this.#heardAt = performance.now();
    this.#askedAt = 0;
    const frame = JSON.parse(text) as ToClient;
    traffic.received(text, frame);
    const id = "id" in frame ? frame.id : undefined;
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    if (id !== undefined && waiting) {
      this.#waiting.delete(id);
      return waiting.answered(frame);
    }
    if (!("data" in frame)) {
      if (frame.type === "ping") this.#send({ type: "pong" });
      return;
    }
    switch (frame.type) {
      case "hello":
        if ("protocol" in frame.data) this.#greeted(frame.data);
        return;
      case "auth":
        if (frame.data.opt === "expiring") void this.#renew(frame.data.expiresAt);
        return;
      case "job":
        return this.#pushedJob(frame.data);
      case "container":
        return this.#pushedContainer(frame.data);
      case "worker":
        if (frame.data.opt === "lagged") for (const watcher of this.#watchers.worker) watcher.fresh();
        else for (const watcher of this.#watchers.worker) watcher.event(frame.data);
        return;
      case "plugin":
      case "error":
        return;
    }
  }

  #pushedJob(event: JobEvent): void {
    if (event.opt === "lagged") {
      for (const watcher of this.#watchers.job) watcher.fresh();
    } else if (event.opt === "status" && !event.at) {
      for (const watcher of this.#watchers.job) watcher.event(event);
    } else if ("jobId" in event) {
      this.#logged(event.jobId, event);
    }
  }

  #pushedContainer(event: ContainerEvent): void {
    if (event.opt === "lagged") {
      for (const watcher of this.#watchers.container) watcher.fresh();
    } else if (event.opt === "stats") {
      for (const hear of this.#stats.get(event.containerId) ?? []) hear(event);
    } else if (event.opt === "status" && !event.at) {
      for (const watcher of this.#watchers.container) watcher.event(event);
    } else if ("containerId" in event) {
      this.#logged(event.containerId, event);
    }
  }

  #logged(id: string, event: JobEvent | ContainerEvent): void {
    const reader = this.#logs.get(id);
    if (reader?.isOpen) reader.listener.event(event);
  }

  #greeted(hello: ServerHello): void {
    this.hello = hello;
    this.skew = hello.now - Date.now();
    const credentials = this.credentials();
    if (credentials) void this.#signIn(credentials);
    else if (hello.auth === "open") this.#live({ account: "anonymous", role: "admin" });
    else this.signOut(null);
  }

  async #signIn(credentials: Credentials): Promise<void> {
    try {
      const answer = (await this.#request("auth", { opt: "login", ...credentials })) as AuthEvent;
      if (answer.opt !== "ok" || !("account" in answer)) return;
      const useless = OTHERS[answer.role];
      if (useless) throw new Refusal({ code: "forbidden", message: useless });
      this.#live(answer);
    } catch (error) {
      if (!(error instanceof Refusal) || error.code === "disconnected") return;
      if (error.retry && "token" in credentials) return this.#socket?.close(1000);
      this.signOut(error.message);
      this.refused(error);
    }
  }

  #live(identity: AuthOk): void {
    this.#attempts = 0;
    this.identity = identity;
    this.trouble = null;
    this.state = "live";
    this.signedIn(identity);
    this.#watchEverything();
  }

  #watchEverything(): void {
    for (const noun of ["job", "worker", "container"] as const) {
      if (this.#watchers[noun].size > 0) void this.#watchAgain(noun);
    }
    for (const [id, { listener }] of this.#logs) void this.#followAgain(id, listener);
    for (const containerId of this.#stats.keys()) this.tell("container", { opt: "stats", containerId });
  }

  async #watchAgain(noun: "job" | "worker" | "container"): Promise<void> {
    try {
      await this.#request(noun, { opt: "watch" });
    } catch {
      // Either the connection is gone and this is asked again, or the account may not see them: lists say so.
    }
    // What changes from now on is heard, so what is asked now is complete.
    for (const watcher of this.#watchers[noun]) watcher.fresh();
  }

  async #followAgain(id: string, listener: LogListener): Promise<void> {
    try {
      if (isContainer(id)) {
        await this.#request("container", { opt: "follow", containerId: id, after: listener.after() });
      } else {
        await this.#request("job", { opt: "follow", jobId: id, after: listener.after() });
      }
      const reader = this.#logs.get(id);
      if (reader?.listener === listener) reader.isOpen = true;
    } catch (error) {
      if (error instanceof Refusal && error.code !== "disconnected" && this.#logs.get(id)?.listener === listener) {
        listener.failed(error);
      }
    }
  }

  /** Gets another token before the one there is runs out. */
  async #renew(expiresAt: number): Promise<void> {
    const socket = this.#socket;
    while (this.#socket === socket && this.state === "live" && this.now() < expiresAt) {
      try {
        const token = await this.renew();
        if (token === null || this.#socket !== socket) return;
        return await this.goOnWith(token);
      } catch (error) {
        if (!(error instanceof Refusal) || !error.retry) return;
        await new Promise((resolve) => setTimeout(resolve, RENEW_AGAIN_MS));
      }
    }
  }

  async #request(noun: Noun, data: Requests[Noun]): Promise<unknown> {
    const frame = await this.#exchange({ type: noun, id: ++this.#lastId, data });
    if (frame.type === "error") throw new Refusal(frame.data);
    return "data" in frame ? frame.data : undefined;
  }

  #exchange(frame: TypedFrame & { id: string | number }): Promise<ToClient> {
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.reject(GONE());
    const within = frame.type === "container" ? CONTAINER_MS : ANSWER_MS;
    return new Promise((answered, reject) => {
      this.#waiting.set(frame.id, { answered, reject, deadline: performance.now() + within });
      this.#send(frame);
    });
  }

  #send(frame: object): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const text = JSON.stringify(frame);
    traffic.sent(text, frame);
    this.#socket.send(text);
  }

  #closed(code: number, reason: string): void {
    this.#socket = null;
    const wasLive = this.state === "live";
    this.#lost();
    if (this.state === "signedOut") return;
    if (code >= FINAL_FROM) {
      const why = ENDINGS[code] ?? `The dispatcher closed the connection: ${reason || code}.`;
      this.signOut(why);
      if (code === UNAUTHORIZED) this.refused(new Refusal({ code: "unauthorized", message: why, retry: false }));
      return;
    }
    this.state = "waiting";
    this.trouble = wasLive ? "The connection was lost." : "The dispatcher does not answer.";
    const most = Math.min(BACKOFF_MOST_MS, BACKOFF_LEAST_MS * 2 ** this.#attempts++);
    const wait = Math.random() * most;
    this.nextTry = Date.now() + wait;
    this.#timer = setTimeout(() => this.#open(), wait);
  }

  #lost(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(GONE());
    if (this.state !== "live") return;
    this.state = "waiting";
    for (const watchers of Object.values(this.#watchers)) for (const watcher of watchers) watcher.stale?.();
    for (const reader of this.#logs.values()) {
      reader.isOpen = false;
      reader.listener.stale();
    }
  }

  /** Looks, once a second, whether the other side is still there and answers. */
  #listen(): void {
    const now = performance.now();
    for (const [id, { reject, deadline }] of this.#waiting) {
      if (deadline > now) continue;
      this.#waiting.delete(id);
      reject(new Refusal({ code: "internal", message: "The dispatcher did not answer within a minute.", retry: true }));
    }
    const socket = this.#socket;
    if (!socket) return;
    if (this.#askedAt > 0 && now - this.#askedAt > PONG_MS) {
      // A socket whose other end is gone may take minutes to close.
      socket.onclose = null;
      socket.close();
      this.#closed(1006, "");
    } else if (this.#askedAt === 0 && now - this.#heardAt > SILENCE_MS) {
      this.#askedAt = now;
      this.#send({ type: "ping" });
    }
  }

  #hurry = (): void => {
    if (document.visibilityState === "visible") this.hurry();
  };

  /** Connects now instead of at `nextTry`. */
  hurry(): void {
    if (this.nextTry === null) return;
    clearTimeout(this.#timer);
    this.#open();
  }
}

export const link = new Link();
