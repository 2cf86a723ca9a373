// What is asked for and not pushed: asked again whenever the connection is there again, and when it was changed from here.
import { link, Refusal } from "./link.svelte.ts";

export class Asked<T> {
  value = $state.raw<T | null>(null);
  failed = $state.raw<Refusal | null>(null);
  /** Whether it is what was last answered on this connection. */
  isFresh = $state(false);
  readonly #ask: () => Promise<T>;
  #turn = 0;

  /** Called while a component is set up. What `ask` reads before it waits is heeded: a change of it asks again. */
  constructor(ask: () => Promise<T>) {
    this.#ask = ask;
    $effect(() => {
      if (link.state === "live") void this.reload();
      else this.isFresh = false;
      return () => this.#turn++;
    });
  }

  async reload(): Promise<void> {
    const turn = ++this.#turn;
    try {
      const value = await this.#ask();
      if (turn !== this.#turn) return;
      this.value = value;
      this.failed = null;
      this.isFresh = link.state === "live";
    } catch (error) {
      if (turn !== this.#turn) return;
      this.failed = error instanceof Refusal ? error : new Refusal({ code: "internal", message: String(error) });
    }
  }
}
