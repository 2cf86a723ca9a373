// What one machine or container used within the last hour, and goes on using: asked for whenever the connection is there,
// then kept up by what is pushed.
import { link, type Refusal } from "./link.svelte.ts";
import { columns, merge, type Sample } from "./usage.ts";

interface Source<S extends Sample> {
  /** What was kept. */
  ask: () => Promise<{ everySecs: number; samples: readonly S[] }>;
  /** Hears what comes in, until the returned function is called. */
  hear: (add: (sample: S) => void) => () => void;
}

export class History<S extends Sample> {
  samples = $state.raw<readonly S[]>([]);
  failed = $state.raw<Refusal | null>(null);
  #everySecs = $state(10);
  readonly columns = $derived(columns(this.samples, this.#everySecs));
  readonly latest = $derived(this.samples.at(-1) ?? null);
  readonly #source: Source<S>;

  /** Called while a component is set up, and ends with it. */
  constructor(source: Source<S>) {
    this.#source = source;
    $effect(() => source.hear((sample) => (this.samples = merge(this.samples, [sample], link.now()))));
    $effect(() => {
      if (link.state === "live") void this.#load();
    });
  }

  async #load(): Promise<void> {
    try {
      const { everySecs, samples } = await this.#source.ask();
      this.#everySecs = everySecs;
      // What came in since is the newer.
      this.samples = merge(samples, this.samples, link.now());
      this.failed = null;
    } catch (error) {
      this.failed = error as Refusal;
    }
  }
}
