// A list of jobs as it is filtered: read page by page as one scrolls, and kept true by what is pushed.
import type { JobRecord, Status, StatusEvent } from "../protocol/frames.ts";
import { jobCounts } from "./feeds.svelte.ts";
import { link, type Refusal } from "./link.svelte.ts";

/** Which jobs. */
export interface Filter {
  status: Status | null;
  account: string | null;
  workerId: string | null;
  tag: string | null;
  text: string | null;
}

export const EVERYTHING: Filter = { status: null, account: null, workerId: null, tag: null, text: null };

/** Jobs that are asked for at a time. */
const PAGE = 200;
/** New jobs that come within this time are looked at together. */
const GATHER_MS = 300;
/** More than these are not kept: who scrolls so far is better served by a filter. */
export const MOST = 100_000;

export class JobList {
  /** Newest first. */
  jobs = $state.raw<readonly JobRecord[]>([]);
  /** Whether there are older ones. */
  more = $state(true);
  loading = $state(false);
  /** Whether it shows how things stand now. */
  isFresh = $state(false);
  failed = $state.raw<Refusal | null>(null);
  #filter: Filter;
  #next: string | null = null;
  #turn = 0;
  #changed = new Map<string, StatusEvent>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Called while a component is set up, which also looks at `jobCounts`. */
  constructor(filter: Filter) {
    this.#filter = filter;
    $effect(() => {
      const hear = (event: StatusEvent) => this.#heard(event);
      jobCounts.listeners.add(hear);
      return () => {
        jobCounts.listeners.delete(hear);
        clearTimeout(this.#timer);
        this.#turn++;
      };
    });
    // Whenever the connection is there again, what is shown may be old.
    $effect(() => {
      if (link.state === "live") void this.reload();
      else this.isFresh = false;
    });
  }

  filter(filter: Filter): void {
    this.#filter = filter;
    this.jobs = [];
    void this.reload();
  }

  /** Asks for the newest again. */
  async reload(): Promise<void> {
    const turn = ++this.#turn;
    this.#changed.clear();
    this.#next = null;
    this.more = true;
    await this.#load(turn, true);
  }

  /** Asks for the next page. */
  async older(): Promise<void> {
    if (this.loading || !this.more || link.state !== "live") return;
    await this.#load(this.#turn, false);
  }

  async #load(turn: number, anew: boolean): Promise<void> {
    this.loading = true;
    try {
      let page: readonly JobRecord[] = [];
      // A filter may find nothing in what one request looks at.
      do {
        const answer = await link.ask("job", { opt: "list", limit: PAGE, ...this.#asked() }, "jobs");
        if (turn !== this.#turn) return;
        page = [...page, ...answer.jobs];
        this.#next = answer.next ?? null;
      } while (page.length < PAGE / 4 && this.#next !== null && page.length === 0);
      this.jobs = anew ? page : [...this.jobs, ...page];
      this.more = this.#next !== null && this.jobs.length < MOST;
      this.failed = null;
      this.isFresh = true;
    } catch (error) {
      if (turn === this.#turn) this.failed = error as Refusal;
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }

  #asked(): { [K in keyof Filter]?: NonNullable<Filter[K]> } & { before?: string } {
    const { status, account, workerId, tag, text } = this.#filter;
    return {
      ...(status && { status }),
      ...(account && { account }),
      ...(workerId && { workerId }),
      ...(tag && { tag }),
      ...(text && { text }),
      ...(this.#next && { before: this.#next }),
    };
  }

  #heard(event: StatusEvent): void {
    this.#changed.set(event.jobId, event);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#apply();
    }, GATHER_MS);
  }

  #apply(): void {
    const changed = this.#changed;
    this.#changed = new Map();
    const newest = this.jobs[0]?.taskId ?? 0;
    let isNew = false;
    for (const event of changed.values()) isNew ||= (event.taskId ?? 0) > newest;
    // With a filter only the dispatcher knows which jobs belong here; without one, new jobs stand at the top.
    if (isNew || this.#filter.status !== null) {
      void this.#renewTop();
      return;
    }
    this.jobs = this.jobs.map((job) => {
      const event = changed.get(job.jobId);
      return event ? withStatus(job, event) : job;
    });
  }

  /** Asks for the newest page again, and keeps what is older than that as it is. */
  async #renewTop(): Promise<void> {
    const turn = this.#turn;
    try {
      const { before: _, ...asked } = this.#asked();
      const { jobs, next } = await link.ask("job", { opt: "list", limit: PAGE, ...asked }, "jobs");
      if (turn !== this.#turn) return;
      const oldest = jobs.at(-1)?.taskId ?? 0;
      const rest = next ? this.jobs.filter((job) => job.taskId < oldest) : [];
      if (rest.length === 0) {
        this.#next = next ?? null;
        this.more = next !== null && next !== undefined;
      }
      this.jobs = [...jobs, ...rest].slice(0, MOST);
    } catch (error) {
      if (turn === this.#turn) this.failed = error as Refusal;
    }
  }
}

/** A record after a change of its status, as far as the change tells. */
export function withStatus(job: JobRecord, event: StatusEvent): JobRecord {
  const { status, attempt, time } = event;
  const changed = { ...job, status, attempt, workerId: event.workerId ?? null, reason: event.reason ?? null };
  switch (status) {
    case "pending":
      return { ...changed, startedAt: null };
    case "running":
      return { ...changed, startedAt: time, waitingFor: null };
    case "completed":
    case "failed":
    case "cancelled":
      return { ...changed, completedAt: time, exitCode: event.exitCode ?? null, waitingFor: null };
  }
}
