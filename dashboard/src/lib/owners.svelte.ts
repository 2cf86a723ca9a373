// Who has which GPUs of which machine, as far as we may know: of what others run we learn only that a GPU is busy.
import type { JobRecord } from "../protocol/frames.ts";
import { containers, workers } from "./feeds.svelte.ts";
import { gpuOwners, tasksOf, type Task } from "./fleet.ts";
import { Glance } from "./glance.svelte.ts";
import { link } from "./link.svelte.ts";
import { Paced } from "./paced.ts";
import { session } from "./session.svelte.ts";

/** Running jobs that are looked at. */
const LOOKED_AT = 1000;
/** Between two questions for what is busy. */
const PAUSE_MS = 2000;

/** `null`: somebody else has it. */
export type Owned = Map<number, Task | null>;

interface Machine {
  id: string;
  gpu: { index: number; status: "free" | "busy" }[];
}

export class Owners {
  #running: Glance;
  #busy = $state.raw<ReadonlyMap<string, readonly number[]>>(new Map());

  /** Called while a component is set up that also looks at `workers`. */
  constructor() {
    containers.use();
    this.#running = new Glance({
      filter: { status: "running" },
      limit: LOOKED_AT,
      // What ends takes its GPUs with it, and only the records know them.
      concerns: () => true,
    });
    // Only administrators see everybody's jobs; what others have is told by the machines themselves.
    const load = $derived(
      link.state === "live" && link.identity?.role !== "admin"
        ? workers.all.map(({ workerId, gpus, running }) => (gpus.length > 0 ? `${workerId} ${running}` : "")).join()
        : "",
    );
    const paced = new Paced(() => this.#ask(), PAUSE_MS);
    $effect(() => {
      if (load !== "") paced.again();
    });
    $effect(() => () => paced.stop());
  }

  /** By index; GPUs that nobody has are not there. */
  of(workerId: string): Owned {
    const owned: Owned = new Map((this.#busy.get(workerId) ?? []).map((index) => [index, null]));
    const tasks = tasksOf(workerId, this.#byWorker.get(workerId) ?? [], containers.all);
    for (const [index, task] of gpuOwners(tasks)) owned.set(index, task);
    return owned;
  }

  readonly #byWorker = $derived.by(() => {
    const found = new Map<string, JobRecord[]>();
    for (const job of this.#running.jobs ?? []) {
      if (!job.workerId || job.gpuIds.length === 0) continue;
      const jobs = found.get(job.workerId);
      if (jobs) jobs.push(job);
      else found.set(job.workerId, [job]);
    }
    return found;
  });

  async #ask(): Promise<void> {
    try {
      const machines = (await (await session.fetch("api/machines/info")).json()) as Machine[];
      this.#busy = new Map(
        machines.map(({ id, gpu }) => [id, gpu.filter(({ status }) => status === "busy").map(({ index }) => index)]),
      );
    } catch {
      // Until it is asked again, our own jobs are all that is known.
    }
  }
}
