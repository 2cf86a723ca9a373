// Something that is done whenever it is called for, but not too often: one at a time, with a pause between the beginnings,
// and once more where it was called for meanwhile.

export class Paced {
  readonly #act: () => Promise<void>;
  readonly #pause: number;
  #begun = -Infinity;
  #busy = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `act` sees to its own failures; `pause` is in milliseconds. */
  constructor(act: () => Promise<void>, pause: number) {
    this.#act = act;
    this.#pause = pause;
  }

  /** Does it soon. */
  again(): void {
    const wait = Math.max(0, this.#begun + this.#pause - performance.now());
    this.#timer ??= setTimeout(() => void this.#run(), wait);
  }

  /** What was called for and has not begun is not done any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #run(): Promise<void> {
    this.#timer = undefined;
    this.#begun = performance.now();
    // The one that is under way may have seen too little.
    if (this.#busy) return this.again();
    this.#busy = true;
    await this.#act().finally(() => (this.#busy = false));
  }
}
