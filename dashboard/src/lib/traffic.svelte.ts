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

/** Frames that are kept, */
const KEPT = 500;
/** and their characters together. */
const KEPT_CHARACTERS = 8 * 1024 * 1024;
/** Longer frames are kept whole only while somebody looks. */
const SHORT = 2048;
const SECRETS = new Set(["token", "password", "present", "access_token"]);

const API_TOKEN = /\bgl_[0-9a-z]+_[0-9a-z_]+/gi;

/** A frame as text, without secrets. */
export function withoutSecrets(frame: unknown, indent?: number): string {
  return JSON.stringify(frame, hideSecret, indent);
}

function hideSecret(key: string, value: unknown): unknown {
  if (typeof value !== "string") return value;
  return SECRETS.has(key) ? "•••" : value.replace(API_TOKEN, "gl_•••");
}

class Traffic {
  /** Newest last. */
  frames = $state.raw<readonly Passed[]>([]);
  /** Whether somebody looks: only then are long frames kept whole, and is the list renewed. */
  watched = $state(false);
  sentCount = 0;
  receivedCount = 0;
  #kept: Passed[] = [];
  #characters = 0;
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
    this.#characters = 0;
    this.frames = [];
  }

  /** Begins, or ends, to look. */
  watch(watched: boolean): void {
    this.watched = watched;
    this.frames = watched ? this.#kept.slice(-KEPT) : [];
  }

  /** Leaves the newest. */
  #drop(left: number): void {
    for (const frame of this.#kept.splice(0, this.#kept.length - left)) this.#characters -= frame.text.length;
  }

  #keep(text: string, frame: unknown, sent: boolean): void {
    const { type, data } = frame as { type: string; data?: { opt?: string } };
    let kept = text;
    // The dispatcher tells secrets in these frames only; what is sent may be anything that somebody typed.
    if (sent || type === "auth") kept = withoutSecrets(frame);
    else if (text.length > SHORT && !this.watched) kept = `(${text.length} characters, not kept)`;
    const n = this.sentCount + this.receivedCount;
    this.#kept.push({ n, time: Date.now(), sent, type, opt: data?.opt ?? null, length: text.length, text: kept });
    this.#characters += kept.length;
    if (this.#kept.length > KEPT * 2) this.#drop(KEPT);
    while (this.#characters > KEPT_CHARACTERS && this.#kept.length > 1) this.#drop(Math.ceil(this.#kept.length / 2));
    if (!this.watched || this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.frames = this.#kept.slice(-KEPT);
    });
  }
}

export const traffic = new Traffic();
