// How busy everything is, once a second over the last five minutes. It goes on while other pages are open, so that the
// overview has something to show; it begins when that is opened first.
//
// Invariant: a second in which the connection was away is a gap and not a guess.
import { jobCounts } from "./feeds.svelte.ts";
import { link } from "./link.svelte.ts";

/** Seconds that are kept. */
export const KEPT = 300;

/** One second of it; null where nothing is known. */
export interface Beat {
  pending: number;
  running: number;
  completed: number;
  failed: number;
}

class Pulse {
  /** Oldest first. */
  beats = $state.raw<readonly (Beat | null)[]>([]);
  #begun = false;
  #completed = 0;
  #failed = 0;
  #account: string | null = null;

  /** Begins, if it has not yet. */
  begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    // For as long as the page lives.
    $effect.root(() => {
      jobCounts.use();
    });
    jobCounts.listeners.add(({ status }) => {
      if (status === "completed") this.#completed++;
      else if (status === "failed") this.#failed++;
    });
    setInterval(() => this.#beat(), 1000);
  }

  /** Jobs that ended within the last minute, and how many seconds of it were seen. */
  lastMinute(): { completed: number; failed: number; seconds: number } {
    let [completed, failed, seconds] = [0, 0, 0];
    for (const beat of this.beats.slice(-60)) {
      if (!beat) continue;
      completed += beat.completed;
      failed += beat.failed;
      seconds++;
    }
    return { completed, failed, seconds };
  }

  #beat(): void {
    const account = link.identity?.account ?? null;
    // What one account saw is not for the next.
    if (account !== null && account !== this.#account) {
      this.#account = account;
      this.beats = [];
    }
    const { counts, isFresh } = jobCounts;
    const beat =
      counts && isFresh
        ? { pending: counts.pending, running: counts.running, completed: this.#completed, failed: this.#failed }
        : null;
    this.#completed = this.#failed = 0;
    if (beat === null && this.beats.length === 0) return;
    this.beats = [...this.beats, beat].slice(-KEPT);
  }
}

export const pulse = new Pulse();
