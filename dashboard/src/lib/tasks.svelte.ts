// What runs on one machine: our own jobs and containers by what is pushed, and, for those who may not see everybody's, what
// the machine's document tells of others: that they are there, whose, and with which GPUs.
import { containers, workers } from "./feeds.svelte.ts";
import { tasksOf, type ForeignTask, type Task } from "./fleet.ts";
import { Glance } from "./glance.svelte.ts";
import { link, type Refusal } from "./link.svelte.ts";
import { Paced } from "./paced.ts";
import { session } from "./session.svelte.ts";

/** Running jobs that are looked at. */
const LOOKED_AT = 1000;
/** Between two questions for what others run. */
const PAUSE_MS = 2000;

export class Tasks {
  readonly #workerId: string;
  readonly #running: Glance;
  #foreign = $state.raw<readonly ForeignTask[]>([]);
  #refused = $state.raw<Refusal | null>(null);
  /** Oldest first. */
  readonly all: Task[] = $derived.by(() =>
    tasksOf(this.#workerId, this.#running.jobs ?? [], containers.all, this.#foreign),
  );
  /** Whether there was an answer. */
  readonly isKnown: boolean = $derived.by(() => this.#running.jobs !== null);
  readonly failed: Refusal | null = $derived.by(() => this.#running.failed ?? this.#refused);

  /** Called while a component is set up that also looks at `workers` and `containers`. */
  constructor(workerId: string) {
    this.#workerId = workerId;
    this.#running = new Glance({
      filter: { status: "running", workerId },
      limit: LOOKED_AT,
      // What goes back to the queue has no worker any more.
      concerns: (event) => event.workerId === workerId || !event.workerId,
    });
    // Nobody tells us of others' jobs, but the machine tells how many it has.
    const isOpenBook = $derived(link.identity?.role === "admin");
    const paced = new Paced(() => this.#ask(), PAUSE_MS);
    const load = $derived(workers.byId.get(workerId)?.running);
    $effect(() => {
      void load;
      if (link.state === "live" && !isOpenBook) paced.again();
    });
    $effect(() => () => paced.stop());
  }

  async #ask(): Promise<void> {
    try {
      const answer = await session.fetch(`api/task/machine/${encodeURIComponent(this.#workerId)}`);
      this.#foreign = (await answer.json()) as ForeignTask[];
      this.#refused = null;
    } catch (error) {
      // Or it was cut off.
      this.#refused = error as Refusal;
    }
  }
}
