// The latest frames, for whoever looks at the protocol. Secrets are taken out before anything is kept.

/** One frame as it passed. */
export interface Passed {
  n: number;
  time: number;
  sent: boolean;
  type: string;
  opt: string | null;
  /** Bytes of its text, counted as UTF-16 units. */
  length: number;
  /** The frame; long ones are cut while nobody looks. */
  text: string;
}

/** Frames that are kept. */
const KEPT = 500;
/** Longer frames are kept whole only while somebody looks. */
const SHORT = 2048;
const SECRETS = new Set(["token", "password", "present", "access_token"]);

class Traffic {
  /** Newest last. */
  frames = $state.raw<readonly Passed[]>([]);
  /** Whether somebody looks: only then are long frames kept whole, and is the list renewed. */
  watched = $state(false);
  sentCount = 0;
  receivedCount = 0;
  #kept: Passed[] = [];
  #drawn = false;

  sent(text: string, frame: unknown): void {
    this.sentCount++;
    this.#keep(text, frame, true);
  }

  received(text: string, frame: unknown): void {
    this.receivedCount++;
    this.#keep(text, frame, false);
  }

  clear(): void {
    this.#kept = [];
    this.frames = [];
  }

  /** Begins, or ends, to look. */
  watch(watched: boolean): void {
    this.watched = watched;
    if (watched) this.frames = [...this.#kept];
  }

  #keep(text: string, frame: unknown, sent: boolean): void {
    const { type, data } = frame as { type: string; data?: { opt?: string } };
    let kept = text;
    if (type === "auth") kept = JSON.stringify(frame, (key, value) => (SECRETS.has(key) ? "•••" : value));
    else if (text.length > SHORT && !this.watched) kept = `(${text.length} characters, not kept)`;
    const n = this.sentCount + this.receivedCount;
    this.#kept.push({ n, time: Date.now(), sent, type, opt: data?.opt ?? null, length: text.length, text: kept });
    if (this.#kept.length > KEPT * 2) this.#kept = this.#kept.slice(-KEPT);
    if (!this.watched || this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.frames = this.#kept.slice(-KEPT);
    });
  }
}

export const traffic = new Traffic();
