// One job as it stands: asked for, and kept true by what is pushed.
import type { JobEvent, JobRecord } from "../protocol/frames.ts";
import { withStatus } from "./jobs.svelte.ts";
import { link, type Refusal, type Watcher } from "./link.svelte.ts";
import { Until } from "./time.svelte.ts";

/** Why a job waits changes without a word: it is asked for again so often. */
const WAITING_MS = 5000;

export class OneJob implements Watcher<"job"> {
  job = $state.raw<JobRecord | null>(null);
  failed = $state.raw<Refusal | null>(null);
  readonly #until = new Until();
  readonly #id: string;
  #isAsking = false;
  #again = false;

  /** `id`: its id or its number. Called while a component is set up. */
  constructor(id: string) {
    this.#id = id;
    $effect(() => link.watch("job", this));
    $effect(() => {
      if (this.job?.status !== "pending") return;
      const timer = setInterval(() => this.fresh(), WAITING_MS);
      return () => clearInterval(timer);
    });
  }

  get isFresh(): boolean {
    return this.#until.isNow;
  }

  /** The server's time up to which it is known. */
  get now(): number {
    return this.#until.time;
  }

  event(event: JobEvent): void {
    if (event.opt !== "status") return;
    if (this.job) {
      if (event.jobId !== this.job.jobId) return;
      this.job = withStatus(this.job, event);
    } else if (event.jobId !== this.#id && String(event.taskId) !== this.#id) return;
    // Also where it is being asked for: that answer may be older.
    this.fresh();
  }

  fresh(): void {
    void this.#ask();
  }

  stale(): void {
    this.#until.isNow = false;
  }

  async #ask(): Promise<void> {
    if (link.state !== "live") return;
    this.#again = this.#isAsking;
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      this.job = (await link.ask("job", { opt: "get", jobId: this.#id }, "job")).job;
      this.failed = null;
      this.#until.isNow = link.state === "live";
    } catch (error) {
      this.failed = error as Refusal;
    } finally {
      this.#isAsking = false;
      if (this.#again) void this.#ask();
    }
  }
}
