// What is known of workers, containers and how many jobs there are: asked for once, then kept true by what is pushed.
//
// Each is there while somebody looks at it. Invariant: `fresh` says whether what is shown is how things stand now.
import { SvelteMap } from "svelte/reactivity";
import type {
  ContainerEvent,
  ContainerRecord,
  JobEvent,
  Status,
  StatusEvent,
  UsageEvent,
  WorkerEvent,
  WorkerRecord,
} from "../protocol/frames.ts";
import { link, type Refusal, type Watcher } from "./link.svelte.ts";

/** Records that are asked for at a time: the most there is. */
const PAGE = 1000;
/** Pages that are asked for at the most. */
const PAGES = 10;
/** What machines use is taken in together when it comes within this time: it comes from each of them, all the time. */
const GATHER_MS = 200;

/** Something that is kept while it is looked at. */
abstract class Feed<N extends "job" | "worker" | "container"> implements Watcher<N> {
  isFresh = $state(false);
  /** Whether there was an answer, be it an old one by now. */
  isKnown = $state(false);
  failed = $state.raw<Refusal | null>(null);
  /** Goes up whenever what was pushed may have left something out, so that who keeps more than this asks anew, too. */
  turn = $state(0);
  readonly #noun: N;
  #lookers = 0;
  #unwatch: (() => void) | null = null;
  #asking = false;
  #again = false;

  constructor(noun: N) {
    this.#noun = noun;
  }

  /** Keeps it until the component that called goes. Called while a component is set up. */
  use(): this {
    $effect(() => {
      if (this.#lookers++ === 0) this.#unwatch = link.watch(this.#noun, this);
      return () => {
        if (--this.#lookers > 0) return;
        this.#unwatch?.();
        this.isFresh = false;
      };
    });
    return this;
  }

  /** Another person may look next. */
  forget(): void {
    this.isKnown = false;
  }

  abstract event(event: Parameters<Watcher<N>["event"]>[0]): void;
  protected abstract load(): Promise<void>;

  fresh(): void {
    this.turn++;
    this.reload();
  }

  protected reload(): void {
    void this.#load();
  }

  stale(): void {
    this.isFresh = false;
  }

  /** Asks anew: once at a time, and once more where it was called meanwhile. */
  async #load(): Promise<void> {
    if (this.#asking) {
      this.#again = true;
      return;
    }
    this.#asking = true;
    try {
      do {
        this.#again = false;
        await this.load();
      } while (this.#again);
      this.failed = null;
      this.isKnown = true;
      // What nobody looks at is not kept true.
      this.isFresh = link.state === "live" && this.#lookers > 0;
    } catch (error) {
      this.failed = error as Refusal;
    } finally {
      this.#asking = false;
    }
  }
}

class Workers extends Feed<"worker"> {
  readonly byId = new SvelteMap<string, WorkerRecord>();
  /** Called with all that machines say they use. */
  readonly listeners = new Set<(event: UsageEvent) => void>();
  /** Of which a change came since they were last asked for: the answer may be older. */
  readonly #heard = new Set<string>();
  #used = new Map<string, UsageEvent>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super("worker");
  }

  /** By id. */
  readonly all = $derived([...this.byId.values()].sort((a, b) => a.workerId.localeCompare(b.workerId)));

  override forget(): void {
    super.forget();
    this.byId.clear();
  }

  override event(event: WorkerEvent): void {
    if (event.opt === "status") {
      this.byId.set(event.worker.workerId, event.worker);
      this.#heard.add(event.worker.workerId);
    } else if (event.opt === "usage") {
      for (const hear of this.listeners) hear(event);
      this.#used.set(event.workerId, event);
      this.#timer ??= setTimeout(() => this.#takeIn(), GATHER_MS);
    }
  }

  #takeIn(): void {
    this.#timer = undefined;
    for (const { workerId, usage, time } of this.#used.values()) {
      const worker = this.byId.get(workerId);
      if (worker) this.byId.set(workerId, { ...worker, usage, lastSeen: time });
    }
    this.#used.clear();
  }

  protected override async load(): Promise<void> {
    this.#heard.clear();
    const found = new Map<string, WorkerRecord>();
    let before: string | undefined;
    for (let page = 0; page < PAGES; page++) {
      const { workers, next } = await link.ask("worker", { opt: "list", limit: PAGE, before }, "workers");
      for (const worker of workers) found.set(worker.workerId, worker);
      if (!next) break;
      before = next;
    }
    for (const id of this.byId.keys()) if (!found.has(id) && !this.#heard.has(id)) this.byId.delete(id);
    for (const [id, worker] of found) if (!this.#heard.has(id)) this.byId.set(id, worker);
  }
}

class Containers extends Feed<"container"> {
  readonly byId = new SvelteMap<string, ContainerRecord>();
  /** Of which a change came since they were last asked for: the answer may be older. */
  readonly #heard = new Set<string>();

  constructor() {
    super("container");
  }

  /** Newest first. */
  readonly all = $derived([...this.byId.values()].sort((a, b) => b.createdAt - a.createdAt));

  override forget(): void {
    super.forget();
    this.byId.clear();
  }

  override event(event: ContainerEvent): void {
    if (event.opt !== "status" || !event.container) return;
    this.#heard.add(event.containerId);
    if (event.status === "removed") this.byId.delete(event.containerId);
    else this.byId.set(event.containerId, event.container);
  }

  protected override async load(): Promise<void> {
    this.#heard.clear();
    const found = new Map<string, ContainerRecord>();
    let before: string | undefined;
    for (let page = 0; page < PAGES; page++) {
      const { containers, next } = await link.ask("container", { opt: "list", limit: PAGE, before }, "containers");
      for (const container of containers) found.set(container.containerId, container);
      if (!next) break;
      before = next;
    }
    for (const id of this.byId.keys()) if (!found.has(id) && !this.#heard.has(id)) this.byId.delete(id);
    for (const [id, container] of found) if (!this.#heard.has(id)) this.byId.set(id, container);
  }
}

/** How many jobs of each status there are. */
export type Counts = Record<Status, number>;

class JobCounts extends Feed<"job"> {
  counts = $state.raw<Counts | null>(null);
  /** Called with every change of a job's status. */
  readonly listeners = new Set<(event: StatusEvent) => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super("job");
  }

  override forget(): void {
    super.forget();
    this.counts = null;
  }

  override event(event: JobEvent): void {
    if (event.opt !== "status") return;
    for (const hear of this.listeners) hear(event);
    // Counted by the dispatcher, however many changes there are: twice a second at the most.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.reload();
    }, 500);
  }

  protected override async load(): Promise<void> {
    const { pending, running, completed, failed, cancelled } = await link.ask("job", { opt: "counts" }, "counts");
    this.counts = { pending, running, completed, failed, cancelled };
  }
}

export const workers = new Workers();
export const containers = new Containers();
export const jobCounts = new JobCounts();
