// A log on a terminal: a window of it that slides, at its end or anywhere else.
//
// Guards: what the terminal shows is contiguous and as the program wrote it; memory does not grow with the log; the page
// stays responsive however fast the program writes, because only so much is handed to the terminal at a time.
// The terminal itself is the window. Output that comes faster than it can be drawn is left out at the front, as if
// scrolled past; scrolling up reads it from the dispatcher again.
import type { IDisposable, IMarker, Terminal } from "@xterm/xterm";
import { link, type Refusal } from "./link.svelte.ts";
import { before, compare, follow, read, sizeOf, START, PAGE_BYTES, type Entry, type Page } from "./log.ts";
import { clockTime } from "./time.svelte.ts";

/** Lines that can be scrolled back without asking the dispatcher. */
export const SCROLLBACK = 10_000;
/** Characters that may be on their way into the terminal: what it takes about one frame to draw. */
const IN_FLIGHT = 128 * 1024;
/** Characters that may wait for that; beyond, older ones are left out, */
const QUEUE_MOST = 4 * 1024 * 1024;
/** down to so many. */
const QUEUE_LEFT = 256 * 1024;
/** What is read around a place that is gone to. */
const BEFORE_ANCHOR = 64 * 1024;

/** A place in a log: an entry, and how many lines further on. */
export interface Anchor {
  at: string;
  line: number;
}

export function parseAnchor(text: string | null): Anchor | null {
  const match = /^(\d+-\d+)(?:\.(\d+))?$/.exec(text ?? "");
  return match?.[1] ? { at: match[1], line: Number(match[2] ?? 0) } : null;
}

export function formatAnchor({ at, line }: Anchor): string {
  return line > 0 ? `${at}.${line}` : at;
}

/** Where an entry begins, in lines since the terminal was last cleared. */
interface Mark {
  at: string;
  line: number;
}

export class Screen {
  /** Whether the end of the log is on the screen and new output is drawn as it comes. */
  following = $state(true);
  /** Whether nothing is missing between what is here and what the program writes now. */
  live = $state(false);
  /** Held by the pause button. */
  paused = $state(false);
  /** Characters that came while it was held. */
  behind = $state(0);
  loading = $state(false);
  failed = $state.raw<Refusal | null>(null);
  /** The beginning of the log is here. */
  atStart = $state(false);
  /** The latest attempt is over. */
  ended = $state(false);
  timestamps = $state(false);

  readonly #id: string;
  readonly #term: Terminal;
  readonly #disposables: IDisposable[];
  #unfollow: (() => void) | null = null;
  #queue: Entry[] = [];
  #queued = 0;
  #inFlight = 0;
  #drawn = false;
  #marks: Mark[] = [];
  /** A line of the terminal whose number is known: others are counted from it. */
  #fixed: { marker: IMarker; line: number } | null = null;
  /** The last entry that was handed to the queue. */
  #last = START;
  #atLineStart = true;
  /** Counts the times that the terminal was cleared; what was begun before is void. */
  #turn = 0;

  constructor(id: string, term: Terminal) {
    this.#id = id;
    this.#term = term;
    this.#disposables = [term.onRender(() => this.#scrolled())];
  }

  dispose(): void {
    this.#turn++;
    this.#detach();
    for (const disposable of this.#disposables) disposable.dispose();
  }

  /** Shows the end of the log and follows it, or a place in it. */
  async open(anchor: Anchor | null = null): Promise<void> {
    await this.#turnTo(async () => {
      if (anchor) return this.#around(anchor.at, anchor, BEFORE_ANCHOR);
      const page = await read(this.#id, { before: "end" }, PAGE_BYTES);
      return () => {
        this.atStart = !page.more;
        this.paused = false;
        this.following = true;
        this.#take(page.entries);
        this.#attach(page.entries.at(-1)?.at ?? START);
      };
    });
  }

  /** Shows the beginning. */
  async toStart(): Promise<void> {
    await this.#turnTo(async () => {
      const page = await read(this.#id, { after: START });
      return () => {
        this.#still(page);
        this.#afterDrawing(() => this.#term.scrollToTop());
      };
    });
  }

  /** Holds still, or goes on where it was held. */
  pause(paused: boolean): void {
    this.paused = paused;
    if (paused) {
      this.following = false;
    } else if (this.#unfollow) {
      this.following = true;
      this.behind = 0;
      this.#term.scrollToBottom();
      this.#draw();
    } else {
      void this.open();
    }
  }

  /** Draws all anew, as after a change of how lines begin. */
  async redraw(): Promise<void> {
    if (this.following) return this.open();
    const anchor = this.anchorOf(this.#term.buffer.active.viewportY);
    await this.open(anchor);
  }

  /** The place of a row of the terminal's buffer. */
  anchorOf(row: number): Anchor | null {
    const line = row + this.#trimmed();
    const index = this.#marks.findLastIndex((mark) => mark.line <= line);
    const mark = this.#marks[index];
    if (!mark) return null;
    let lines = 0;
    for (let r = mark.line - this.#trimmed() + 1; r <= row; r++) {
      if (!this.#term.buffer.active.getLine(r)?.isWrapped) lines++;
    }
    return { at: mark.at, line: lines };
  }

  /** The row where a place is, if it is in the terminal. */
  rowOf(anchor: Anchor): number | null {
    const mark = this.#marks.find((mark) => mark.at === anchor.at);
    if (!mark) return null;
    const buffer = this.#term.buffer.active;
    let row = mark.line - this.#trimmed();
    if (row < 0) return null;
    for (let left = anchor.line; left > 0 && row + 1 < buffer.length;) {
      row++;
      if (!buffer.getLine(row)?.isWrapped) left--;
    }
    return row;
  }

  /** Goes to the nearest line before (or after) those in the terminal that `matches`, reading on from the dispatcher. */
  async find(
    matches: (line: string, stderr: boolean) => boolean,
    direction: "older" | "first",
    signal: AbortSignal,
  ): Promise<Anchor | null> {
    let cursor = direction === "older" ? (this.#marks[0]?.at ?? "end") : START;
    for (;;) {
      const page = await read(this.#id, direction === "older" ? { before: cursor } : { after: cursor }, 2 * PAGE_BYTES);
      if (signal.aborted) return null;
      const found = lineIn(page.entries, matches, direction === "older");
      if (found) return found;
      const edge = direction === "older" ? page.entries[0] : page.entries.at(-1);
      if (!page.more || !edge) return null;
      cursor = direction === "older" && edge.kind === "gone" ? edge.from : edge.at;
    }
  }

  /** Reads around a cursor, and returns what shows it. */
  async #around(at: string, anchor: Anchor, bytesBefore: number): Promise<() => void> {
    const older = await read(this.#id, { before: at }, bytesBefore);
    const newer = await read(this.#id, { after: older.entries.at(-1)?.at ?? before(at) }, 2 * PAGE_BYTES);
    return () => {
      this.#still({ entries: [...older.entries, ...newer.entries], more: newer.more, top: newer.top });
      this.atStart = !older.more;
      this.#afterDrawing(() => {
        const row = this.rowOf(anchor);
        if (row !== null) this.#term.scrollToLine(row);
      });
    };
  }

  /** Shows a piece from somewhere, and follows where it reaches the end. */
  #still(page: Page): void {
    this.following = false;
    this.atStart = true;
    this.#take(page.entries);
    if (!page.more) this.#attach(page.entries.at(-1)?.at ?? START);
  }

  /** Clears the terminal and shows something else in it, unless somebody turned elsewhere meanwhile. */
  async #turnTo(look: () => Promise<() => void>): Promise<void> {
    const turn = ++this.#turn;
    this.loading = true;
    this.failed = null;
    this.paused = false;
    try {
      const show = await look();
      if (turn !== this.#turn) return;
      this.#detach();
      this.#clear();
      show();
      this.#draw();
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }

  #fail(error: unknown): void {
    const refusal = error as Refusal;
    this.failed = refusal;
  }

  #attach(after: string): void {
    this.#detach();
    this.#last = after;
    this.#unfollow = follow(this.#id, after, {
      entry: (entry) => {
        this.#take([entry]);
        if (!this.following) this.behind += sizeOf(entry);
        this.#request();
      },
      live: (live) => (this.live = live),
      failed: (error) => {
        this.#detach();
        this.failed = error;
      },
    });
    this.live = link.state === "live";
  }

  #detach(): void {
    this.#unfollow?.();
    this.#unfollow = null;
    this.live = false;
  }

  #clear(): void {
    this.#queue = [];
    this.#queued = 0;
    this.#inFlight = 0;
    this.#marks = [];
    this.#fixed?.marker.dispose();
    this.#fixed = null;
    this.#last = START;
    this.#atLineStart = true;
    this.behind = 0;
    this.ended = false;
    // In its turn: what is on its way into the terminal comes before it.
    this.#term.write("\x1bc");
  }

  #take(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.#queue.push(entry);
      this.#queued += sizeOf(entry);
      this.#last = entry.at;
      this.ended = entry.kind === "ended" || (this.ended && entry.kind === "output");
    }
    if (this.#queued <= QUEUE_MOST) return;
    if (this.following) {
      // Nobody can read so fast. What is left out is there when one scrolls up.
      let drop = 0;
      for (; this.#queued > QUEUE_LEFT && drop < this.#queue.length - 1; drop++) {
        this.#queued -= sizeOf(this.#queue[drop]!);
      }
      const rest = this.#queue.slice(drop);
      const { ended } = this;
      const last = this.#last;
      this.#turn++;
      this.#clear();
      this.#queue = rest;
      this.#queued = rest.reduce((sum, entry) => sum + sizeOf(entry), 0);
      this.#last = last;
      this.ended = ended;
      this.atStart = false;
    } else {
      // Held still while more comes than is worth keeping: it is read again when it is wanted.
      const first = this.#queue[0]!;
      this.#queue = [];
      this.#queued = 0;
      this.#last = before(first.kind === "gone" ? first.from : first.at);
      this.#detach();
    }
  }

  /** Draws with the next frame: once, however much comes until then. */
  #request(): void {
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.#draw();
    });
  }

  #draw(): void {
    // What is held is drawn up to a screenful below what one looks at, so that one can scroll on.
    if (!this.following && this.#unfollow && this.#marks.length > 0 && !this.#nearEnd()) return;
    if (this.paused && this.#marks.length > 0) return;
    let sent = 0;
    while (sent < this.#queue.length && this.#inFlight < IN_FLIGHT) this.#write(this.#queue[sent++]!);
    this.#queue.splice(0, sent);
  }

  #write(entry: Entry): void {
    const size = sizeOf(entry);
    const turn = this.#turn;
    this.#queued -= size;
    this.#inFlight += size;
    this.#markHere(entry, turn);
    const done = () => {
      if (turn !== this.#turn) return;
      this.#inFlight -= size;
      if (this.#queue.length > 0 && this.#inFlight < IN_FLIGHT / 2) this.#request();
    };
    const shown = this.#shown(entry);
    this.#term.write(shown, done);
  }

  /** Notes where an entry begins, once all before it is in the terminal. */
  #markHere(entry: Entry, turn: number): void {
    this.#term.write("", () => {
      if (turn !== this.#turn) return;
      const { baseY, cursorY } = this.#term.buffer.active;
      const trimmed = this.#trimmed();
      const line = trimmed + baseY + cursorY;
      // The fixed line must not scroll out of the terminal before another one is known.
      if (!this.#fixed || line - this.#fixed.line > SCROLLBACK / 2) {
        this.#fixed?.marker.dispose();
        const marker = this.#term.registerMarker(0);
        this.#fixed = { marker, line };
      }
      this.#marks.push({ at: entry.kind === "gone" ? entry.from : entry.at, line });
      if (this.#marks.length % 1024 === 0) {
        const first = this.#marks.findIndex((mark) => mark.line >= trimmed);
        if (first > 0) this.#marks.splice(0, first);
        if (first > 0) this.atStart = false;
      }
    });
  }

  /** Lines that the terminal has let go of since it was cleared. */
  #trimmed(): number {
    return this.#fixed && !this.#fixed.marker.isDisposed ? this.#fixed.line - this.#fixed.marker.line : 0;
  }

  #shown(entry: Entry): string | Uint8Array {
    switch (entry.kind) {
      case "output":
        return this.timestamps ? this.#stamped(entry.bytes, entry.time) : entry.bytes;
      case "began":
        return entry.attempt > 1 ? this.#rule(`attempt ${entry.attempt} on ${entry.workerId ?? "a worker"}`) : "";
      case "requeued":
        return this.#rule("back in the queue");
      case "gone":
        return this.#rule(`${entry.from} to ${entry.at} are no longer kept`);
      case "ended":
        return "";
    }
  }

  /** A line of our own, which cannot be taken for the program's. */
  #rule(words: string): string {
    const begin = this.#atLineStart ? "" : "\r\n";
    this.#atLineStart = true;
    return `${begin}\x1b[0;2;3m── ${words} ──\x1b[0m\r\n`;
  }

  #stamped(bytes: string | Uint8Array, time: number): string {
    const text = typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes);
    const stamp = `\x1b[2m${clockTime(time)}\x1b[22m `;
    const stamped = text.replace(/\n(?=[^])/g, `\n${stamp}`);
    const begin = this.#atLineStart ? stamp : "";
    this.#atLineStart = text.endsWith("\n");
    return begin + stamped;
  }

  #afterDrawing(act: () => void): void {
    const turn = this.#turn;
    const check = () => {
      if (turn !== this.#turn) return;
      if (this.#queue.length > 0 && this.#inFlight < IN_FLIGHT) this.#draw();
      if (this.#queue.length > 0) this.#term.write("", check);
      else this.#term.write("", () => turn === this.#turn && act());
    };
    check();
  }

  #nearEnd(): boolean {
    const { viewportY, baseY } = this.#term.buffer.active;
    return viewportY + this.#term.rows >= baseY;
  }

  /** The terminal was drawn: looks where it was scrolled to, and reads on where it came to an edge. */
  #scrolled(): void {
    const { viewportY, baseY, type } = this.#term.buffer.active;
    if (this.loading || type === "alternate") return;
    const atEnd = viewportY >= baseY;
    if (this.following && !atEnd) {
      this.following = false;
    } else if (!this.following && !this.paused && atEnd && this.#queue.length === 0) {
      if (this.#unfollow) {
        this.following = true;
        this.behind = 0;
      } else if (this.#inFlight === 0) {
        void this.#newer();
      }
    } else if (!this.following && this.#queue.length > 0 && this.#nearEnd()) {
      this.#request();
    }
    if (viewportY === 0 && baseY > 0 && !this.following && !this.atStart && this.#inFlight === 0) void this.older();
  }

  /** Shows what lies before the first line that is here, and stays where it was. */
  async older(): Promise<void> {
    const trimmed = this.#trimmed();
    const first = this.#marks.find((mark) => mark.line >= trimmed);
    if (!first) return;
    await this.#turnTo(() => this.#around(first.at, { at: first.at, line: 0 }, PAGE_BYTES));
  }

  async #newer(): Promise<void> {
    const turn = this.#turn;
    this.loading = true;
    try {
      const page = await read(this.#id, { after: this.#last });
      if (turn !== this.#turn) return;
      this.#take(page.entries);
      if (!page.more) this.#attach(this.#last);
      this.#draw();
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }
}

/** The first (or last) line of these entries that matches. A line may reach over several entries; it is where it begins. */
function lineIn(
  entries: readonly Entry[],
  matches: (line: string, stderr: boolean) => boolean,
  last: boolean,
): Anchor | null {
  let found: Anchor | null = null;
  let open = { text: "", at: "", line: 0, stderr: false };
  const decoder = new TextDecoder();
  for (const entry of entries) {
    if (entry.kind !== "output") continue;
    const text = typeof entry.bytes === "string" ? entry.bytes : decoder.decode(entry.bytes);
    const lines = text.split("\n");
    for (const [k, piece] of lines.entries()) {
      if (k > 0 || open.text === "") open = { text: "", at: entry.at, line: k, stderr: entry.stderr };
      open.text += piece;
      const isWhole = k < lines.length - 1 || entry === entries.at(-1);
      if (!isWhole || open.text === "" || !matches(open.text, open.stderr)) continue;
      found = { at: open.at, line: open.line };
      if (!last) return found;
    }
  }
  return found;
}

/** Whether two places are the same or one is before the other. */
export function compareAnchors(a: Anchor, b: Anchor): number {
  return compare(a.at, b.at) || a.line - b.line;
}
