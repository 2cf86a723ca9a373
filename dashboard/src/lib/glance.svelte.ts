// A few jobs of one kind, as they stand: asked for anew, once a second at the most, when something has changed that may
// concern them. For lists that are scrolled through see jobs.svelte.ts.
import type { JobRecord, StatusEvent } from "../protocol/frames.ts";
import { jobCounts } from "./feeds.svelte.ts";
import type { Filter } from "./jobs.svelte.ts";
import { link, type Refusal } from "./link.svelte.ts";
import { Paced } from "./paced.ts";

/** Between two questions at least. */
const PAUSE_MS = 1000;

interface Asked {
  filter: Partial<Filter>;
  limit: number;
  /** Whether a change may concern what is shown. */
  concerns: (event: StatusEvent) => boolean;
}

export class Glance {
  /** Newest first; null before the first answer. */
  jobs = $state.raw<readonly JobRecord[] | null>(null);
  /** Whether there are more of them. */
  more = $state(false);
  isFresh = $state(false);
  failed = $state.raw<Refusal | null>(null);
  readonly #asked: Asked;
  readonly #paced = new Paced(() => this.#load(), PAUSE_MS);
  #gone = false;

  /** Called while a component is set up, and ends with it. */
  constructor(asked: Asked) {
    this.#asked = asked;
    jobCounts.use();
    $effect(() => {
      const hear = (event: StatusEvent) => {
        if (asked.concerns(event)) this.again();
      };
      jobCounts.listeners.add(hear);
      return () => {
        this.#gone = true;
        jobCounts.listeners.delete(hear);
        this.#paced.stop();
      };
    });
    $effect(() => {
      void jobCounts.turn;
      if (link.state === "live") this.again();
      else this.isFresh = false;
    });
  }

  /** Asks anew, soon. */
  again(): void {
    this.#paced.again();
  }

  async #load(): Promise<void> {
    try {
      const { filter, limit } = this.#asked;
      const answer = await link.ask("job", { opt: "list", limit, ...given(filter) }, "jobs");
      if (this.#gone) return;
      this.jobs = answer.jobs;
      this.more = Boolean(answer.next);
      this.failed = null;
      this.isFresh = link.state === "live";
    } catch (error) {
      this.failed = error as Refusal;
    }
  }
}

type Given = { [K in keyof Filter]?: NonNullable<Filter[K]> };

function given(filter: Partial<Filter>): Given {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== null)) as Given;
}
