// A list of jobs as it is filtered: read page by page as one scrolls, and kept true by what is pushed.
//
// However fast the queue is, changes are gathered and shown a few times a second. Invariant: what is shown has no holes;
// newest first. Not here: which jobs a filter means, which the dispatcher alone says.
import type { JobEvent, JobRecord, Status, StatusEvent } from "../protocol/frames.ts";
import { link, type Refusal, type Watcher } from "./link.svelte.ts";
import { Until } from "./time.svelte.ts";

/** Which jobs. */
export interface Filter {
  status: Status | null;
  account: string | null;
  workerId: string | null;
  tag: string | null;
  text: string | null;
}

/** Jobs that are asked for first, and at a time when there are more: the most there is. */
const FIRST = 200;
const PAGE = 1000;
/** What comes within this time is looked at together. */
const GATHER_MS = 300;
/** More than these are not kept: who scrolls so far is better served by a filter. */
export const MOST = 100_000;
/** Jobs that are asked for one by one, when they begin to belong to the list. */
const SINGLES = 20;
/** Pages that are asked for again when what is shown may be old: the list ends behind them. */
const RENEWED_PAGES = 10;
/** A filter may find nothing in what one request looks at: so many more are made for one page. */
const REQUESTS = 20;

export class JobList implements Watcher<"job"> {
  /** Newest first. */
  jobs = $state.raw<readonly JobRecord[]>([]);
  /** Whether there are older ones. */
  more = $state(true);
  loading = $state(true);
  failed = $state.raw<Refusal | null>(null);
  readonly #until = new Until();
  #filter: Filter;
  #next: string | null = null;
  /** Counts the filters: what was asked for an earlier one is void. */
  #turn = 0;
  #changed = new Map<number, StatusEvent>();
  #isOld = false;
  #isBusy = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Called while a component is set up. */
  constructor(filter: Filter) {
    this.#filter = filter;
    $effect(() => {
      const unwatch = link.watch("job", this);
      return () => {
        unwatch();
        clearTimeout(this.#timer);
        this.#turn++;
      };
    });
  }

  /** Whether it shows how things stand now. */
  get isFresh(): boolean {
    return this.#until.isNow;
  }

  /** The server's time up to which it is known. */
  get now(): number {
    return this.#until.time;
  }

  event(event: JobEvent): void {
    if (event.opt !== "status" || typeof event.taskId !== "number") return;
    this.#changed.set(event.taskId, event);
    this.#soon(GATHER_MS);
  }

  fresh(): void {
    this.#isOld = true;
    this.#soon(this.jobs.length > 0 ? GATHER_MS : 0);
  }

  stale(): void {
    this.#until.isNow = false;
  }

  filter(filter: Filter): void {
    this.#filter = filter;
    this.#turn++;
    this.#changed.clear();
    this.jobs = [];
    this.more = true;
    this.#next = null;
    this.#isOld = true;
    this.#isBusy = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#soon(0);
  }

  /** Asks for the next page. */
  async older(): Promise<void> {
    if (this.loading || !this.more || !this.isFresh) return;
    const turn = this.#turn;
    this.loading = true;
    try {
      const { jobs, next } = await this.#list(PAGE, this.#next);
      if (turn !== this.#turn) return;
      const last = this.jobs.at(-1)?.taskId ?? Infinity;
      this.#shown([...this.jobs, ...jobs.filter((job) => job.taskId < last)], next);
    } catch (error) {
      if (turn === this.#turn) this.failed = error as Refusal;
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }

  #soon(after: number): void {
    if (this.#isBusy) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#catchUp();
    }, after);
  }

  async #catchUp(): Promise<void> {
    const turn = this.#turn;
    this.#isBusy = true;
    try {
      if (this.#isOld) await this.#renew(turn);
      else await this.#apply(turn);
      if (turn === this.#turn) this.failed = null;
    } catch (error) {
      if (turn === this.#turn) this.failed = error as Refusal;
    } finally {
      if (turn === this.#turn) {
        this.#isBusy = false;
        this.loading = false;
        if (link.state === "live" && (this.#isOld || this.#changed.size > 0)) this.#soon(GATHER_MS);
      }
    }
  }

  /** Asks for all again that is shown, as far as that is worth it. */
  async #renew(turn: number): Promise<void> {
    this.#isOld = false;
    this.#changed.clear();
    this.loading = true;
    const wanted = this.jobs.length;
    const found: JobRecord[] = [];
    let next: string | null = null;
    for (let page = 0; page < RENEWED_PAGES; page++) {
      const answer = await this.#list(wanted > FIRST ? PAGE : FIRST, next);
      if (turn !== this.#turn) return;
      found.push(...answer.jobs);
      next = answer.next;
      if (next === null || found.length >= wanted) break;
    }
    this.#shown(found, next);
    this.#until.isNow = link.state === "live";
  }

  async #apply(turn: number): Promise<void> {
    const changed = this.#changed;
    this.#changed = new Map();
    const jobs = [...this.jobs];
    const newest = jobs[0]?.taskId ?? 0;
    const oldest = this.more ? (jobs.at(-1)?.taskId ?? Infinity) : 0;
    const missing: number[] = [];
    for (const [taskId, event] of changed) {
      const index = indexOf(jobs, taskId);
      const job = jobs[index];
      if (job) jobs[index] = withStatus(job, event);
      else if (taskId > oldest && this.#mayBelong(event)) missing.push(taskId);
    }
    const { status, workerId } = this.#filter;
    const isHere = (job: JobRecord) => (!status || job.status === status) && (!workerId || job.workerId === workerId);
    this.jobs = status || workerId ? jobs.filter(isHere) : jobs;
    if (missing.length === 0) return;
    if (missing.every((taskId) => taskId > newest)) return this.#newer(turn, missing.length);
    if (missing.length > SINGLES) {
      this.#isOld = true;
      return;
    }
    const answers = await Promise.all(missing.map((taskId) => this.#one(taskId)));
    if (turn !== this.#turn) return;
    for (const job of answers) if (job) this.jobs = inserted(this.jobs, job);
  }

  /** Asks for those newer than what is shown: about so many. */
  async #newer(turn: number, count: number): Promise<void> {
    const newest = this.jobs[0]?.taskId ?? 0;
    const found: JobRecord[] = [];
    let next: string | null = null;
    do {
      const limit = Math.min(Math.max(count + SINGLES, FIRST / 4), PAGE);
      const answer = await this.#list(limit, next);
      if (turn !== this.#turn) return;
      found.push(...answer.jobs);
      next = answer.next;
    } while (next !== null && (found.at(-1)?.taskId ?? Infinity) > newest && found.length < PAGE * RENEWED_PAGES);
    const last = found.at(-1)?.taskId ?? Infinity;
    if (next === null || last > newest) return this.#shown(found, next);
    this.#shown([...found, ...this.jobs.filter((job) => job.taskId < last)], this.#next);
  }

  /** A job by its number, where it belongs to the list. */
  async #one(taskId: number): Promise<JobRecord | null> {
    const { jobs } = await link.ask("job", { opt: "list", limit: 1, ...this.#asked(), before: taskId + 1 }, "jobs");
    return jobs[0]?.taskId === taskId ? jobs[0] : null;
  }

  #shown(jobs: readonly JobRecord[], next: string | null): void {
    this.jobs = jobs.slice(0, MOST);
    this.#next = next;
    this.more = next !== null && jobs.length < MOST;
  }

  /** Reads one page: again where nothing was found in what was looked at. */
  async #list(limit: number, before: string | null): Promise<{ jobs: JobRecord[]; next: string | null }> {
    let next = before;
    for (let request = 0; request < REQUESTS; request++) {
      const asked = { ...this.#asked(), ...(next && { before: next }) };
      const answer = await link.ask("job", { opt: "list", limit, ...asked }, "jobs");
      next = answer.next ?? null;
      if (answer.jobs.length > 0 || next === null) return { jobs: answer.jobs, next };
    }
    return { jobs: [], next };
  }

  #mayBelong({ status, account, workerId }: StatusEvent): boolean {
    const filter = this.#filter;
    return (
      (!filter.status || filter.status === status) &&
      (!filter.account || filter.account === account) &&
      (!filter.workerId || filter.workerId === workerId)
    );
  }

  #asked(): { [K in keyof Filter]?: NonNullable<Filter[K]> } {
    const { status, account, workerId, tag, text } = this.#filter;
    return {
      ...(status && { status }),
      ...(account && { account }),
      ...(workerId && { workerId }),
      ...(tag && { tag }),
      ...(text && { text }),
    };
  }
}

/** Where a number is in a list that begins with the largest; -1 where it is not. */
export function indexOf(jobs: readonly { taskId: number }[], taskId: number): number {
  const index = placeOf(jobs, taskId);
  return jobs[index]?.taskId === taskId ? index : -1;
}

/** The list with one more job, in its place. */
export function inserted<T extends { taskId: number }>(jobs: readonly T[], job: T): readonly T[] {
  const index = placeOf(jobs, job.taskId);
  return jobs[index]?.taskId === job.taskId ? jobs : jobs.toSpliced(index, 0, job);
}

function placeOf(jobs: readonly { taskId: number }[], taskId: number): number {
  let low = 0;
  let high = jobs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (jobs[middle]!.taskId > taskId) low = middle + 1;
    else high = middle;
  }
  return low;
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
